//! What an event means for the queue, which is a projection of the log.

use crate::job::{Event, Job, Phase};
use crate::plan::StageIndex;
use crate::time::Timestamp;

/// A change to the task of a job's current stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskChange {
    /// The stage may be started by a worker, not before `run_at` if there is one.
    Open { stage: StageIndex, run_at: Option<Timestamp> },
    /// A worker holds the stage.
    Lease { stage: StageIndex },
    /// The worker lost the stage; it may be started again at `run_at`.
    Release { stage: StageIndex, run_at: Timestamp },
    /// There is nothing left to do in this stage, and the next one may be started.
    Advance { from: StageIndex, to: StageIndex },
    /// There is nothing left to do in this job.
    Close { stage: StageIndex },
}

/// What the queue must do about `event`; `before` is the job as it was before the event.
///
/// A stage has a task from the moment it may run until its result, final failure or the end of its job.
pub fn react(before: &Job, event: &Event) -> Option<TaskChange> {
    let stage = before.stage;
    match event {
        Event::JobSubmitted(submitted) => Some(TaskChange::Open { stage, run_at: submitted.run_at }),
        Event::StageStarted(_) => Some(TaskChange::Lease { stage }),
        Event::StepRecorded(_) => None,
        Event::StageCompleted(_) => {
            let to = stage.next();
            let is_last = before.submitted.as_ref().is_none_or(|submitted| submitted.plan.get(to).is_none());
            Some(if is_last { TaskChange::Close { stage } } else { TaskChange::Advance { from: stage, to } })
        }
        Event::StageFailed(failed) => Some(match failed.retry_at {
            Some(run_at) => TaskChange::Release { stage, run_at },
            None => TaskChange::Close { stage },
        }),
        Event::JobCompleted(_) | Event::Queue(_) | Event::Archive(_) => None,
        // A final stage failure has closed the task already; an abandoned job still has one.
        Event::JobFailed(_) if before.phase == Phase::Failed => None,
        Event::JobFailed(_) => Some(TaskChange::Close { stage }),
        Event::JobCancelled(_) => Some(TaskChange::Close { stage }),
        Event::JobRetried(_) => Some(TaskChange::Open { stage, run_at: None }),
    }
}
