//! What happens when the money is used up: the stage that needs some waits, those beside it go on, and the job is paused
//! once nothing else moves.

use std::time::Duration;

use crate::id::Attempt;
use crate::job::{
    BudgetSet, ErrorClass, Event, Job, JobPaused, JobResumed, PauseReason, Rejection, StageFailed,
    StagePhase, Status,
};
use crate::money::Usd;
use crate::plan::{PlannedStage, StageIndex};
use crate::time::Timestamp;

/// A stage that was refused money.
pub(super) struct Refused<'a> {
    pub(super) stage: StageIndex,
    pub(super) planned: &'a PlannedStage,
    pub(super) attempt: Attempt,
    pub(super) message: String,
    /// Until its tenant has a new budget; None if it is the job's own that is used up.
    pub(super) wait: Option<Duration>,
}

/// Lets a stage wait for money, which costs it no attempt.
pub(super) fn park(job: &Job, refused: Refused<'_>, at: Timestamp) -> Vec<Event> {
    let Refused { stage, planned, attempt, message, wait } = refused;
    let until = wait.map(|wait| at.plus(wait));
    let failed = StageFailed {
        stage: planned.name.clone(),
        attempt,
        error: message,
        class: ErrorClass::BudgetExhausted,
        retry_at: until,
        is_final: false,
    };
    let paused = pause(job, stage, Some(until));
    std::iter::once(Event::StageFailed(failed)).chain(paused).collect()
}

/// What a failure counts as: a stage that finds no money although the job has some would find none for ever if that
/// cost it nothing. Its budget was raised while it ran into it, or the stage is wrong.
pub(super) fn class_of(job: &Job, class: ErrorClass, wait: Option<Duration>) -> ErrorClass {
    let unfounded = class == ErrorClass::BudgetExhausted && wait.is_none() && !job.is_budget_used_up();
    if unfounded { ErrorClass::Transient } else { class }
}

/// What follows when `stage` has its result, or waits for money (until some time): a pause, if nothing else of the job
/// moves and something waits for money.
pub(super) fn pause(job: &Job, stage: StageIndex, own: Option<Option<Timestamp>>) -> Option<Event> {
    let others = || job.stages.iter().enumerate().filter(|(place, _)| *place != stage.place());
    if others().any(|(_, other)| other.is_moving()) {
        return None;
    }
    let parked = others().filter_map(|(_, other)| match other.phase {
        StagePhase::Parked { until } => Some(until),
        StagePhase::Pending
        | StagePhase::Waiting { .. }
        | StagePhase::Running
        | StagePhase::Retrying { .. }
        | StagePhase::Done
        | StagePhase::Stopped => None,
    });
    let untils: Vec<Option<Timestamp>> = parked.chain(own).collect();
    if untils.is_empty() {
        return None;
    }
    let for_job = untils.iter().any(Option::is_none);
    let reason = if for_job { PauseReason::JobBudget } else { PauseReason::TenantBudget };
    Some(Event::JobPaused(JobPaused { reason, until: untils.into_iter().flatten().min() }))
}

/// Sets the job's budget, and lets it go on if that is what it waits for.
pub(super) fn set(job: &Job, max_cost_micros: u64) -> Result<Vec<Event>, Rejection> {
    if let Some(status) = job.status(Timestamp::MAX).filter(|status| status.is_terminal()) {
        return Err(Rejection::NoBudgetNeeded(status));
    }
    if job.budget == Some(max_cost_micros) {
        return Ok(vec![]);
    }
    let waits = job.stages.iter().any(|stage| stage.phase == StagePhase::Parked { until: None });
    let resumed = (waits && max_cost_micros > job.spent).then_some(Event::JobResumed(JobResumed {}));
    let set = Event::BudgetSet(BudgetSet { max_cost_micros });
    Ok(std::iter::once(set).chain(resumed).collect())
}

/// Lets what waits for money try again.
pub(super) fn resume(job: &Job) -> Result<Vec<Event>, Rejection> {
    if !job.has_parked() {
        // Whatever time it is: of an open job it only matters whether it waits for money.
        return Err(Rejection::NotResumable(job.status(Timestamp::MAX).unwrap_or(Status::Queued)));
    }
    match job.budget {
        Some(budget) if job.is_budget_used_up() => {
            Err(Rejection::BudgetUsedUp { spent: Usd(job.spent), budget: Usd(budget) })
        }
        Some(_) | None => Ok(vec![Event::JobResumed(JobResumed {})]),
    }
}
