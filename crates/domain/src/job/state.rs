//! What is so, as far as deciding needs to know.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Attempt, Version};
use crate::job::react::following;
use crate::job::{JobError, JobSubmitted, Rework};
use crate::payload::Payload;
use crate::plan::{PlannedStage, StageIndex};
use crate::time::Timestamp;

/// A job, folded from its events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// How many events were folded.
    pub version: Version,
    pub phase: Phase,
    /// None until submitted.
    pub submitted: Option<Arc<JobSubmitted>>,
    /// One for each stage of the plan, in its order.
    pub stages: Vec<StageState>,
    /// The first stage of the group that runs or waits; of the last group once the job is completed.
    pub first: StageIndex,
    /// Counts from 1; one more each time that a stage sent the job back.
    pub round: u32,
    /// How many rounds there were since the last manual retry, counted from 1.
    pub rounds: u32,
    /// How often somebody set the job going again.
    pub retries: u32,
    /// What the stages had produced that were reopened by the latest round, in plan order.
    pub feedback: Vec<Payload>,
    /// What was paid for the job so far, in millionths of a US dollar, over all stages, rounds and retries.
    pub spent: u64,
    /// How much may be paid for it; None if that is not limited.
    pub budget: Option<u64>,
    /// Why the job failed, while it is failed.
    pub error: Option<JobError>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has happened yet.
    #[default]
    New,
    /// Stages run or wait.
    Open,
    Completed,
    Failed,
    Cancelled,
}

/// A stage of a job. All but the attempts begin anew with each round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageState {
    pub phase: StagePhase,
    /// How often the stage was started, over all rounds and manual retries.
    pub attempt: Attempt,
    /// How often it failed by its own fault since the last manual retry.
    pub failures: u32,
    /// How often it was turned away for its rate since the last manual retry.
    pub rate_limits: u32,
    /// How often it lost its worker since the last manual retry.
    pub losses: u32,
    /// Its finished steps, until it is done.
    pub steps: Vec<Step>,
    /// Its result, once it is done.
    pub output: Option<Payload>,
    /// Its wish that the job goes back, if that is its result.
    pub rework: Option<Box<Rework>>,
}

/// Where a stage stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StagePhase {
    /// Its turn has not come.
    #[default]
    Pending,
    /// It waits for a worker, not before `run_at` if there is one.
    Waiting { run_at: Option<Timestamp> },
    /// A worker holds it.
    Running,
    /// It failed and waits for its next attempt.
    Retrying { retry_at: Timestamp },
    /// It waits for money, and for `until` if there will be some by itself then.
    Parked { until: Option<Timestamp> },
    /// It has its result.
    Done,
    /// It failed for good, or its job ended before it did.
    Stopped,
}

/// A finished step of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub key: String,
    pub output: Payload,
}

impl StageState {
    /// True while it runs or waits: it has a task then.
    pub fn is_open(&self) -> bool {
        match self.phase {
            StagePhase::Waiting { .. }
            | StagePhase::Running
            | StagePhase::Retrying { .. }
            | StagePhase::Parked { .. } => true,
            StagePhase::Pending | StagePhase::Done | StagePhase::Stopped => false,
        }
    }

    /// True if it runs, or will without anybody's doing and without money.
    pub(super) fn is_moving(&self) -> bool {
        match self.phase {
            StagePhase::Waiting { .. } | StagePhase::Running | StagePhase::Retrying { .. } => true,
            StagePhase::Pending | StagePhase::Parked { .. } | StagePhase::Done | StagePhase::Stopped => false,
        }
    }

    /// True if it waits for money.
    pub fn is_parked(&self) -> bool {
        matches!(self.phase, StagePhase::Parked { .. })
    }

    /// True if it has its result, and the job may go on.
    pub(super) fn is_through(&self) -> bool {
        self.phase == StagePhase::Done && self.rework.is_none()
    }
}

/// A job's phase as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Scheduled,
    Queued,
    Running,
    Retrying,
    Completed,
    Failed,
    Cancelled,
    Paused,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Paused,
    ];

    /// Nothing more happens by itself.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Scheduled | Self::Queued | Self::Running | Self::Retrying | Self::Paused => false,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Paused => "paused",
        }
    }

    /// The status called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Job {
    /// The status at time `at`; None for a job that does not exist.
    ///
    /// A scheduled job is queued once its time has come, without any event.
    pub fn status(&self, at: Timestamp) -> Option<Status> {
        match self.phase {
            Phase::New => None,
            Phase::Open => Some(self.open_status(at)),
            Phase::Completed => Some(Status::Completed),
            Phase::Failed => Some(Status::Failed),
            Phase::Cancelled => Some(Status::Cancelled),
        }
    }

    fn open_status(&self, at: Timestamp) -> Status {
        let is_retrying = |stage: &StageState| matches!(stage.phase, StagePhase::Retrying { .. });
        let is_early = |stage: &StageState| match stage.phase {
            StagePhase::Waiting { run_at } => run_at.is_some_and(|run_at| run_at > at),
            StagePhase::Pending
            | StagePhase::Running
            | StagePhase::Retrying { .. }
            | StagePhase::Parked { .. }
            | StagePhase::Done
            | StagePhase::Stopped => false,
        };
        if self.stages.iter().any(|stage| stage.phase == StagePhase::Running) {
            Status::Running
        } else if self.stages.iter().any(is_retrying) {
            Status::Retrying
        } else if self.is_paused() {
            Status::Paused
        } else if self.stages.iter().any(is_early) {
            Status::Scheduled
        } else if self.round > 1 || self.n_done() > 0 {
            Status::Running
        } else {
            Status::Queued
        }
    }

    /// True if all that is left to do of the job waits for money.
    pub fn is_paused(&self) -> bool {
        self.has_parked() && !self.stages.iter().any(StageState::is_moving)
    }

    /// True if a stage waits for money.
    pub fn has_parked(&self) -> bool {
        self.stages.iter().any(StageState::is_parked)
    }

    /// True if nothing may be paid for the job any more.
    pub fn is_budget_used_up(&self) -> bool {
        self.budget.is_some_and(|budget| self.spent >= budget)
    }

    pub fn is_terminal(&self) -> bool {
        match self.phase {
            Phase::Completed | Phase::Failed | Phase::Cancelled => true,
            Phase::New | Phase::Open => false,
        }
    }

    /// How many stages have their result.
    pub fn n_done(&self) -> usize {
        self.stages.iter().filter(|stage| stage.phase == StagePhase::Done).count()
    }

    /// Where the stages of the current group stand in the plan; the last group once the job is completed.
    pub fn group(&self) -> Range<usize> {
        let group = self.submitted.as_ref().map(|submitted| submitted.plan.group(self.first));
        group.filter(|group| group.end <= self.stages.len()).unwrap_or_default()
    }

    /// The stage that stands for the job where one is shown: the first of the current group without a result, or the
    /// group's last if all have theirs.
    pub fn current(&self) -> StageIndex {
        let group = self.group();
        let mut undone = group.clone().filter(|place| self.stages[*place].phase != StagePhase::Done);
        StageIndex::at(undone.next().unwrap_or(group.end.saturating_sub(1)))
    }

    pub fn stage(&self, stage: StageIndex) -> Option<&StageState> {
        self.stages.get(stage.place())
    }

    /// A stage as planned.
    pub fn planned(&self, stage: StageIndex) -> Option<&PlannedStage> {
        self.submitted.as_ref()?.plan.get(stage)
    }

    /// The stages that run or wait.
    pub fn open(&self) -> impl Iterator<Item = StageIndex> + '_ {
        self.group().filter(|place| self.stages[*place].is_open()).map(StageIndex::at)
    }

    /// The one stage that runs or waits, if there is just one: nobody but who has its task changes the job, clients aside.
    pub fn only_open(&self) -> Option<StageIndex> {
        let mut open = self.open();
        open.next().filter(|_| open.next().is_none())
    }

    /// What the stages before the group of `stage` returned, in plan order.
    pub fn outputs_before(&self, stage: StageIndex) -> impl Iterator<Item = &Payload> {
        let first = self.submitted.as_ref().map_or(0, |submitted| submitted.plan.group(stage).start);
        self.stages.iter().take(first).filter_map(|stage| stage.output.as_ref())
    }

    /// The stages that may be started once `stage` has its result, if that does not send the job back.
    pub fn following(&self, stage: StageIndex) -> impl Iterator<Item = StageIndex> + use<> {
        following(self, stage).map(StageIndex::at)
    }

    pub(super) fn index_of(&self, name: &str) -> Option<StageIndex> {
        let index = self.submitted.as_ref()?.plan.index_of(name)?;
        (index.place() < self.stages.len()).then_some(index)
    }

    /// True if a manual retry runs the stage again: it has no result, or it sent the job back in vain.
    pub(super) fn is_retried(&self, place: usize) -> bool {
        let is_done = |stage: &StageState| stage.phase == StagePhase::Done;
        let in_vain = || self.stages[self.group()].iter().all(is_done);
        self.stages.get(place).is_some_and(|stage| !is_done(stage) || (stage.rework.is_some() && in_vain()))
    }

    /// The stages that a manual retry runs again.
    pub(super) fn to_retry(&self) -> Vec<usize> {
        self.group().filter(|place| self.is_retried(*place)).collect()
    }
}
