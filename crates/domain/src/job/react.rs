//! What an event means for the queue, which is a projection of the log.

use std::ops::Range;

use crate::job::{Event, Job};
use crate::plan::StageIndex;
use crate::time::Timestamp;

/// A change to the task of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskChange {
    /// The stage may be started by a worker, not before `run_at` if there is one.
    Open { stage: StageIndex, run_at: Option<Timestamp> },
    /// The stage may be started, and the job that it belongs to has begun before.
    Follow { stage: StageIndex },
    /// A worker holds the stage.
    Lease { stage: StageIndex },
    /// The worker lost the stage; it may be started again at `run_at`.
    Release { stage: StageIndex, run_at: Timestamp },
    /// The stage waited for money and may be started again.
    Resume { stage: StageIndex },
    /// There is nothing left to do in this stage.
    Close { stage: StageIndex },
}

/// What happens to several tasks at once.
#[derive(Clone, Copy)]
enum Together {
    Open {
        run_at: Option<Timestamp>,
    },
    Follow,
    /// Those that wait for money.
    Resume,
    /// Those that are open.
    Close,
    /// Those that a manual retry runs again.
    Retry,
}

/// What the queue must do about `event`; `before` is the job as it was before the event.
///
/// A stage has a task from the moment it may run until its result, final failure or the end of its job.
pub fn react<'a>(before: &'a Job, event: &'a Event) -> impl Iterator<Item = TaskChange> + 'a {
    let (own, together, places) = changes(before, event);
    own.into_iter().chain(places.filter_map(move |place| {
        let stage = StageIndex::at(place);
        match together {
            Together::Open { run_at } => Some(TaskChange::Open { stage, run_at }),
            Together::Follow => Some(TaskChange::Follow { stage }),
            Together::Resume => before.stages[place].is_parked().then_some(TaskChange::Resume { stage }),
            Together::Close => before.stages[place].is_open().then_some(TaskChange::Close { stage }),
            Together::Retry => before.is_retried(place).then_some(TaskChange::Open { stage, run_at: None }),
        }
    }))
}

fn changes(before: &Job, event: &Event) -> (Option<TaskChange>, Together, Range<usize>) {
    let of = |name: &str, change: &dyn Fn(StageIndex) -> TaskChange| {
        (before.index_of(name).map(change), Together::Follow, 0..0)
    };
    match event {
        Event::JobSubmitted(submitted) => {
            (None, Together::Open { run_at: submitted.run_at }, submitted.plan.group(StageIndex::default()))
        }
        Event::StageStarted(started) => of(&started.stage, &|stage| TaskChange::Lease { stage }),
        Event::StageCompleted(completed) => {
            let next = match before.index_of(&completed.stage) {
                Some(stage) if completed.rework.is_none() => following(before, stage),
                Some(_) | None => 0..0,
            };
            let (own, together, _) = of(&completed.stage, &|stage| TaskChange::Close { stage });
            (own, together, next)
        }
        Event::StageFailed(failed) => of(&failed.stage, &|stage| match failed.retry_at {
            Some(run_at) => TaskChange::Release { stage, run_at },
            // It keeps its task, which nobody takes before somebody acts.
            None if failed.is_parked() => TaskChange::Release { stage, run_at: Timestamp::MAX },
            None => TaskChange::Close { stage },
        }),
        Event::StagesReopened(reopened) => match (&before.submitted, before.index_of(&reopened.stage)) {
            (Some(submitted), Some(stage)) => (None, Together::Follow, submitted.plan.group(stage)),
            (Some(_), None) | (None, _) => (None, Together::Follow, 0..0),
        },
        Event::JobFailed(_) | Event::JobCancelled(_) => (None, Together::Close, 0..before.stages.len()),
        Event::JobRetried(_) => (None, Together::Retry, before.group()),
        Event::JobResumed(_) => (None, Together::Resume, 0..before.stages.len()),
        Event::StepRecorded(_)
        | Event::JobCompleted(_)
        | Event::JobPaused(_)
        | Event::BudgetSet(_)
        | Event::Queue(_)
        | Event::Archive(_)
        | Event::Content(_) => (None, Together::Follow, 0..0),
    }
}

/// The group that may be started once `stage` has its result; empty while another stage of its group has none, or has
/// sent the job back.
pub(super) fn following(before: &Job, stage: StageIndex) -> Range<usize> {
    let group = before.group();
    let is_last = group.contains(&stage.place())
        && group.clone().all(|place| place == stage.place() || before.stages[place].is_through());
    match &before.submitted {
        Some(submitted) if is_last => submitted.plan.group(StageIndex::at(group.end)),
        Some(_) | None => 0..0,
    }
}
