//! `job_timeline`: one row per attempt of a stage.

use quillwork_app::ports::store::Entry;
use quillwork_domain::id::{Attempt, Position};
use quillwork_domain::job::{ErrorClass, Event};
use quillwork_domain::time::Timestamp;
use serde::Serialize;

use crate::job_group::GroupStage;
use crate::job_summary::JobSummary;

/// One attempt of a stage, as clients read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// The place of the stage in the plan, from 0.
    pub stage_index: u32,
    pub stage: String,
    pub attempt: Attempt,
    pub worker: Option<String>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub outcome: TimelineOutcome,
    /// The class of the failure: the name of an [`ErrorClass`].
    pub class: Option<String>,
    pub error: Option<String>,
    /// When the stage may be started again.
    pub retry_at: Option<Timestamp>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineOutcome {
    Running,
    Completed,
    Failed,
    /// Its worker vanished.
    Lost,
    /// Its worker gave it back: it was shutting down, or must not spend any more.
    Released,
    /// The job was cancelled, or failed by another stage.
    Cancelled,
}

impl TimelineOutcome {
    pub const ALL: [Self; 6] =
        [Self::Running, Self::Completed, Self::Failed, Self::Lost, Self::Released, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Released => "released",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The name of a stage of `job`, which the table does not repeat.
pub(crate) fn stage_of(job: &JobSummary, stage_index: u32) -> String {
    job.stages.get(stage_index as usize).cloned().unwrap_or_default()
}

/// The attempts that run now. They are in the job's own row; the table holds those that have ended.
pub(crate) fn running(job: &JobSummary) -> Vec<TimelineEntry> {
    if job.group.is_empty() {
        let runs = job.worker.is_some();
        return runs.then(|| shown(job, job.attempt, TimelineOutcome::Running, None)).into_iter().collect();
    }
    let running = job.group.iter().filter(|member| member.worker.is_some());
    running.map(|member| of_member(member, TimelineOutcome::Running, None)).collect()
}

/// Adds the attempts that `entry` ends; `before` is its job before the event.
pub(crate) fn fold(before: &JobSummary, entry: &Entry, ended: &mut Vec<(Position, TimelineEntry)>) {
    let at = Some(entry.recorded.recorded_at);
    let mut end = |entry: TimelineEntry| ended.push((before.submitted_position, entry));
    match &entry.event {
        Event::JobSubmitted(_)
        | Event::StageStarted(_)
        | Event::StepRecorded(_)
        | Event::JobCompleted(_)
        | Event::JobRetried(_)
        | Event::StagesReopened(_)
        | Event::JobPaused(_)
        | Event::JobResumed(_)
        | Event::BudgetSet(_)
        | Event::Queue(_)
        | Event::Archive(_)
        | Event::Content(_) => {}
        Event::StageCompleted(completed) => {
            end(named(before, &completed.stage, completed.attempt, TimelineOutcome::Completed, at));
        }
        Event::StageFailed(failed) => end(TimelineEntry {
            class: Some(failed.class.as_str().to_owned()),
            error: Some(failed.error.clone()),
            retry_at: failed.retry_at,
            ..named(before, &failed.stage, failed.attempt, outcome(failed.class), at)
        }),
        Event::JobFailed(failed) => {
            for running in running(before) {
                let ended = if running.stage == failed.error.stage {
                    TimelineEntry {
                        class: Some(failed.error.class.as_str().to_owned()),
                        error: Some(failed.error.message.clone()),
                        outcome: TimelineOutcome::Failed,
                        ..running
                    }
                } else {
                    TimelineEntry { outcome: TimelineOutcome::Cancelled, ..running }
                };
                end(TimelineEntry { finished_at: at, ..ended });
            }
        }
        Event::JobCancelled(_) => {
            for running in running(before) {
                end(TimelineEntry { outcome: TimelineOutcome::Cancelled, finished_at: at, ..running });
            }
        }
    }
}

/// An attempt of the stage called `stage`.
fn named(
    job: &JobSummary,
    stage: &str,
    attempt: Attempt,
    outcome: TimelineOutcome,
    finished_at: Option<Timestamp>,
) -> TimelineEntry {
    match job.group.iter().find(|member| member.stage == stage) {
        Some(member) => of_member(member, outcome, finished_at),
        None => shown(job, attempt, outcome, finished_at),
    }
}

fn of_member(member: &GroupStage, outcome: TimelineOutcome, finished_at: Option<Timestamp>) -> TimelineEntry {
    TimelineEntry {
        stage_index: member.stage_index,
        stage: member.stage.clone(),
        attempt: member.attempt,
        worker: member.worker.clone(),
        started_at: member.started_at,
        finished_at,
        outcome,
        class: None,
        error: None,
        retry_at: None,
    }
}

/// An attempt of the one stage that the row itself tells of.
fn shown(
    job: &JobSummary,
    attempt: Attempt,
    outcome: TimelineOutcome,
    finished_at: Option<Timestamp>,
) -> TimelineEntry {
    TimelineEntry {
        stage_index: job.stage_index(),
        stage: stage_of(job, job.stage_index()),
        attempt,
        worker: job.worker.clone(),
        started_at: job.stage_started_at,
        finished_at,
        outcome,
        class: None,
        error: None,
        retry_at: None,
    }
}

fn outcome(class: ErrorClass) -> TimelineOutcome {
    match class {
        ErrorClass::Lost => TimelineOutcome::Lost,
        ErrorClass::Released | ErrorClass::BudgetExhausted => TimelineOutcome::Released,
        ErrorClass::Transient
        | ErrorClass::RateLimited
        | ErrorClass::Quota
        | ErrorClass::Permanent
        | ErrorClass::TooLarge
        | ErrorClass::BadOutput
        | ErrorClass::Timeout
        | ErrorClass::Panic
        | ErrorClass::NoSourcesFound
        | ErrorClass::UnknownHandler
        | ErrorClass::Undecodable => TimelineOutcome::Failed,
    }
}
