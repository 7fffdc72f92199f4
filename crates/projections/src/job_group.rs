//! Which stages of a job run, wait or have their result, where several run at the same time.
//!
//! Most jobs have one stage at a time, and for those the row itself says where it stands. Only a group, or a stage that
//! sent the job back, is written down by itself.

use quillwork_domain::id::Attempt;
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job_summary::JobSummary;

/// One of several stages that run at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStage {
    /// The place of the stage in the plan, from 0.
    pub stage_index: u32,
    pub stage: String,
    pub state: StageState,
    /// How often the stage was started, over all rounds.
    pub attempt: Attempt,
    /// Who runs it now.
    pub worker: Option<String>,
    /// Since when.
    pub started_at: Option<Timestamp>,
    /// When its next attempt may start, while it is retrying.
    pub retry_at: Option<Timestamp>,
}

/// Where one of several stages stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    Waiting,
    Running,
    Retrying,
    /// It waits for money.
    Parked,
    Completed,
    /// It has its result, and the job is to go back.
    SentBack,
    /// It failed for good, or its job ended before it did.
    Stopped,
}

impl StageState {
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Running,
        Self::Retrying,
        Self::Parked,
        Self::Completed,
        Self::SentBack,
        Self::Stopped,
    ];
}

impl GroupStage {
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, StageState::Completed | StageState::SentBack)
    }

    fn become_idle(&mut self, state: StageState) {
        self.state = state;
        (self.worker, self.started_at, self.retry_at) = (None, None, None);
    }
}

impl JobSummary {
    /// Begins the group of the stage at `place`.
    pub(crate) fn enter(&mut self, place: u32) {
        let is_beside = |place: &u32| self.beside.contains(place);
        let first = (0..=place).rev().find(|place| !is_beside(place)).unwrap_or(0);
        let last = (first + 1..self.progress.total).take_while(is_beside).last().unwrap_or(first);
        self.group =
            if first == last { vec![] } else { (first..=last).map(|place| self.idle(place)).collect() };
        self.progress.done = first;
        (self.worker, self.stage_started_at, self.retry_at) = (None, None, None);
        self.show();
    }

    /// A stage that waits.
    fn idle(&self, place: u32) -> GroupStage {
        GroupStage {
            stage_index: place,
            stage: self.stages.get(place as usize).cloned().unwrap_or_default(),
            state: StageState::Waiting,
            attempt: self.started(place),
            worker: None,
            started_at: None,
            retry_at: None,
        }
    }

    /// How often the stage at `place` was started.
    fn started(&self, place: u32) -> Attempt {
        let counted = self.counted.get(place as usize).map_or(0, |counted| counted[0]);
        Attempt(u32::try_from(counted).unwrap_or(u32::MAX))
    }

    fn member(&mut self, stage: &str) -> Option<&mut GroupStage> {
        self.group.iter_mut().find(|member| member.stage == stage)
    }

    pub(crate) fn begin(&mut self, stage: &str, attempt: Attempt, worker: &str, at: Timestamp) {
        if let Some(member) = self.member(stage) {
            member.state = StageState::Running;
            member.attempt = attempt;
            (member.worker, member.started_at, member.retry_at) = (Some(worker.to_owned()), Some(at), None);
            return self.show();
        }
        self.attempt = attempt;
        (self.worker, self.stage_started_at, self.retry_at) = (Some(worker.to_owned()), Some(at), None);
    }

    pub(crate) fn complete(&mut self, stage: &str, sends_back: bool) {
        if self.group.is_empty() && sends_back {
            // So that the row tells which stage it was.
            let alone = self.idle(self.progress.done.saturating_sub(1));
            self.group.push(alone);
        }
        let state = if sends_back { StageState::SentBack } else { StageState::Completed };
        if let Some(member) = self.member(stage) {
            member.become_idle(state);
        }
        let end = self.group.last().map_or(self.progress.done, |last| last.stage_index + 1);
        let is_through = self.group.iter().all(|member| member.state == StageState::Completed);
        if is_through && end < self.progress.total {
            return self.enter(end);
        }
        if self.group.is_empty() {
            (self.worker, self.stage_started_at) = (None, None);
        }
        self.show();
    }

    pub(crate) fn fail(&mut self, stage: &str, retry_at: Option<Timestamp>) {
        let state = if retry_at.is_some() { StageState::Retrying } else { StageState::Stopped };
        if let Some(member) = self.member(stage) {
            member.become_idle(state);
            member.retry_at = retry_at;
            return self.show();
        }
        (self.worker, self.stage_started_at) = (None, None);
        self.status = if retry_at.is_some() { Status::Retrying } else { Status::Failed };
        self.retry_at = retry_at;
    }

    /// Lets a stage wait for money.
    pub(crate) fn park(&mut self, stage: &str) {
        if let Some(member) = self.member(stage) {
            member.become_idle(StageState::Parked);
            return self.show();
        }
        (self.worker, self.stage_started_at, self.retry_at) = (None, None, None);
        self.status = Status::Paused;
    }

    /// Lets all stages that wait for money wait for a worker.
    pub(crate) fn resume(&mut self) {
        if self.group.is_empty() {
            self.status = self.waiting();
            return;
        }
        for member in self.group.iter_mut().filter(|member| member.state == StageState::Parked) {
            member.become_idle(StageState::Waiting);
        }
        self.show();
    }

    /// Goes back to the group of `stage`.
    pub(crate) fn reopen(&mut self, stage: &str) {
        let place = self.stages.iter().position(|name| name == stage).unwrap_or_default();
        self.status = Status::Running;
        self.enter(u32::try_from(place).unwrap_or(u32::MAX));
    }

    /// Ends every stage that runs or waits.
    pub(crate) fn stop(&mut self) {
        (self.worker, self.stage_started_at, self.retry_at) = (None, None, None);
        for member in self.group.iter_mut().filter(|member| !member.is_done()) {
            member.become_idle(StageState::Stopped);
        }
    }

    /// Opens what has no result; if all have one, those that sent the job back in vain.
    pub(crate) fn retry(&mut self) {
        let in_vain = self.group.iter().all(GroupStage::is_done);
        let mut n_again = 0;
        for member in &mut self.group {
            let again = if in_vain { member.state == StageState::SentBack } else { !member.is_done() };
            if again {
                n_again += u32::from(member.is_done());
                member.become_idle(StageState::Waiting);
            }
        }
        self.progress.done = self.progress.done.saturating_sub(n_again);
        if !self.group.is_empty() {
            self.show();
        }
    }

    /// Shows one stage for all of them.
    fn show(&mut self) {
        let place = self.stage_index();
        self.stage = self.stages.get(place as usize).cloned();
        self.attempt = self.started(place);
        let has = |state: StageState| self.group.iter().any(|member| member.state == state);
        if self.group.is_empty() {
            return;
        }
        if has(StageState::Running) {
            self.status = Status::Running;
        } else if has(StageState::Retrying) {
            self.status = Status::Retrying;
        } else if has(StageState::Parked) && !has(StageState::Waiting) {
            self.status = Status::Paused;
        } else if self.status != Status::Scheduled {
            self.status = self.waiting();
        }
        let retrying = self.status == Status::Retrying;
        self.retry_at = self.group.iter().filter_map(|member| member.retry_at).min().filter(|_| retrying);
        let shown = self.group.iter().find(|member| member.stage_index == place);
        (self.worker, self.stage_started_at) =
            shown.map_or((None, None), |member| (member.worker.clone(), member.started_at));
    }
}
