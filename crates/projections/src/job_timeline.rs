//! `job_timeline`: one row per attempt of a stage.

use quillwork_app::ports::store::Entry;
use quillwork_domain::id::Attempt;
use quillwork_domain::job::{ErrorClass, Event};
use quillwork_domain::time::Timestamp;
use serde::Serialize;

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
    /// Its worker gave it back.
    Released,
    /// The job was cancelled.
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

/// The attempt that runs now, if one does. It is in the job's own row; the table holds those that have ended.
pub(crate) fn running(job: &JobSummary) -> Option<TimelineEntry> {
    job.worker.is_some().then(|| attempt_of(job, job.attempt, TimelineOutcome::Running, None))
}

/// The attempt that `entry` ends, if it ends one; `before` is its job before the event.
pub(crate) fn fold(before: &JobSummary, entry: &Entry) -> Option<TimelineEntry> {
    let at = Some(entry.recorded.recorded_at);
    // Between two stages a job counts as running while no attempt is.
    let an_attempt_runs = before.worker.is_some();
    match &entry.event {
        Event::JobSubmitted(_)
        | Event::StageStarted(_)
        | Event::StepRecorded(_)
        | Event::JobCompleted(_)
        | Event::JobRetried(_)
        | Event::Queue(_)
        | Event::Archive(_) => None,
        Event::StageCompleted(completed) => {
            Some(attempt_of(before, completed.attempt, TimelineOutcome::Completed, at))
        }
        Event::StageFailed(failed) => Some(TimelineEntry {
            class: Some(failed.class.as_str().to_owned()),
            error: Some(failed.error.clone()),
            retry_at: failed.retry_at,
            ..attempt_of(before, failed.attempt, outcome(failed.class), at)
        }),
        Event::JobFailed(failed) if an_attempt_runs => Some(TimelineEntry {
            class: Some(failed.error.class.as_str().to_owned()),
            error: Some(failed.error.message.clone()),
            ..attempt_of(before, before.attempt, TimelineOutcome::Failed, at)
        }),
        Event::JobCancelled(_) if an_attempt_runs => {
            Some(attempt_of(before, before.attempt, TimelineOutcome::Cancelled, at))
        }
        Event::JobFailed(_) | Event::JobCancelled(_) => None,
    }
}

fn attempt_of(
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
        ErrorClass::Released => TimelineOutcome::Released,
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
