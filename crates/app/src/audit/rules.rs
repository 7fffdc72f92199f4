//! Which events a job may have next. Written apart from `decide`, so that a defect there shows here.

use quillwork_domain::id::Attempt;
use quillwork_domain::job::{ErrorClass, Event, Job, MAX_STEPS, Phase, StageFailed};
use quillwork_domain::plan::{Plan, PlannedStage};
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;

/// The event that must come directly after another one, because one append wrote both.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Demand {
    /// After the result of the last stage.
    JobCompleted,
    /// After a final failure, with the same error.
    JobFailed(StageFailed),
}

impl Demand {
    /// The kind of the demanded event.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::JobCompleted => "JobCompleted",
            Self::JobFailed(_) => "JobFailed",
        }
    }
}

/// Checks `event` against the job as it was before it, and says what must follow directly.
///
/// `demand` is what the event before this one demanded, if that was an event of the same job.
pub(super) fn check(
    before: &Job,
    event: &Event,
    recorded_at: Timestamp,
    demand: Option<&Demand>,
) -> Result<Option<Demand>, String> {
    let kind = wire::kind(event);
    if let Event::JobSubmitted(submitted) = event {
        if before.phase != Phase::New {
            return Err("JobSubmitted for a job that exists".into());
        }
        Plan::new(submitted.plan.stages().to_vec())
            .map_err(|error| format!("JobSubmitted with a wrong plan: {error}"))?;
        return Ok(None);
    }
    let Some(current) = before.current() else {
        return Err(format!("the stream begins with {kind}, not with JobSubmitted"));
    };
    match event {
        // Handled above.
        Event::JobSubmitted(_) => Ok(None),
        Event::StageStarted(started) => {
            let due = match before.phase {
                Phase::Waiting { run_at } => run_at.unwrap_or_default(),
                Phase::Retrying { retry_at } => retry_at,
                Phase::New | Phase::Running | Phase::Completed | Phase::Failed | Phase::Cancelled => {
                    return Err(format!("StageStarted while the job is {}", name(before.phase)));
                }
            };
            if due > recorded_at {
                return Err(format!("StageStarted at {recorded_at}, before it was due at {due}"));
            }
            let next = before.attempt.next();
            attempt_of(kind, current, &started.stage, next, started.attempt)?;
            Ok(None)
        }
        Event::StepRecorded(step) => {
            held(before, kind, current, &step.stage, step.attempt)?;
            if before.steps.iter().any(|known| known.key == step.step_key) {
                return Err(format!("StepRecorded twice for step {:?}", step.step_key));
            }
            if before.steps.len() >= MAX_STEPS {
                return Err(format!("more than {MAX_STEPS} steps in one stage"));
            }
            Ok(None)
        }
        Event::StageCompleted(completed) => {
            held(before, kind, current, &completed.stage, completed.attempt)?;
            let plan = before.submitted.as_ref().map(|submitted| &submitted.plan);
            let is_last = plan.is_none_or(|plan| plan.get(before.stage.next()).is_none());
            Ok(is_last.then_some(Demand::JobCompleted))
        }
        Event::StageFailed(failed) => {
            held(before, kind, current, &failed.stage, failed.attempt)?;
            within_plan(before, current, failed)?;
            Ok(failed.is_final.then(|| Demand::JobFailed(failed.clone())))
        }
        Event::JobCompleted(_) => match demand {
            Some(Demand::JobCompleted) => Ok(None),
            Some(Demand::JobFailed(_)) | None => {
                Err("JobCompleted without the last stage's result directly before it".into())
            }
        },
        Event::JobFailed(job_failed) => {
            let error = &job_failed.error;
            match demand {
                Some(Demand::JobFailed(failed)) => {
                    let same = (&failed.stage, failed.attempt, failed.class, &failed.error)
                        == (&error.stage, error.attempt, error.class, &error.message);
                    if same {
                        Ok(None)
                    } else {
                        Err("JobFailed with another error than the stage failed with".into())
                    }
                }
                Some(Demand::JobCompleted) => Err("JobFailed after the last stage's result".into()),
                // Given up without a worker.
                None => open(before, kind).and_then(|()| {
                    attempt_of(kind, current, &error.stage, before.attempt, error.attempt).map(|()| None)
                }),
            }
        }
        Event::JobCancelled(_) => open(before, kind).map(|()| None),
        Event::Queue(_) | Event::Archive(_) => Err(format!("{kind} in the stream of a job")),
        Event::JobRetried(retried) => match before.phase {
            Phase::Failed | Phase::Cancelled if retried.stage == current.name => Ok(None),
            Phase::Failed | Phase::Cancelled => {
                Err(format!("JobRetried at stage {:?}; it stopped at {:?}", retried.stage, current.name))
            }
            Phase::New
            | Phase::Waiting { .. }
            | Phase::Running
            | Phase::Retrying { .. }
            | Phase::Completed => Err(format!("JobRetried while the job is {}", name(before.phase))),
        },
    }
}

/// Only a job that has not ended may have this event.
fn open(before: &Job, kind: &str) -> Result<(), String> {
    if before.is_terminal() {
        Err(format!("{kind} after the job was {}", name(before.phase)))
    } else {
        Ok(())
    }
}

/// Only the attempt that holds the stage may say anything about it.
fn held(
    before: &Job,
    kind: &str,
    current: &PlannedStage,
    stage: &str,
    attempt: Attempt,
) -> Result<(), String> {
    open(before, kind)?;
    if before.phase != Phase::Running {
        return Err(format!("{kind} of stage {stage:?}, attempt {attempt}, which is not started"));
    }
    attempt_of(kind, current, stage, before.attempt, attempt)
}

fn attempt_of(
    kind: &str,
    current: &PlannedStage,
    stage: &str,
    expected: Attempt,
    found: Attempt,
) -> Result<(), String> {
    if stage != current.name {
        return Err(format!("{kind} of stage {stage:?}; the current stage is {:?}", current.name));
    }
    if found != expected {
        return Err(format!("{kind} of stage {stage:?} with attempt {found}; expected attempt {expected}"));
    }
    Ok(())
}

/// A failure either says when to try again, and the plan has an attempt left, or is final, and it has none.
fn within_plan(before: &Job, planned: &PlannedStage, failed: &StageFailed) -> Result<(), String> {
    if failed.is_final == failed.retry_at.is_some() {
        return Err("StageFailed must have either retry_at or final".into());
    }
    let (used, limit, what) = match failed.class {
        ErrorClass::Transient | ErrorClass::BadOutput | ErrorClass::Timeout | ErrorClass::Panic => {
            (before.failures.saturating_add(2), planned.max_attempts, "failures")
        }
        ErrorClass::RateLimited => {
            (before.rate_limits.saturating_add(1), planned.max_rate_limited, "rate limits")
        }
        ErrorClass::Lost => (before.losses.saturating_add(1), planned.max_lost, "lost workers"),
        ErrorClass::Released => (0, 0, "releases"),
        ErrorClass::Quota
        | ErrorClass::Permanent
        | ErrorClass::TooLarge
        | ErrorClass::NoSourcesFound
        | ErrorClass::UnknownHandler
        | ErrorClass::Undecodable => (1, 0, "permanent failures"),
    };
    match (used <= limit, failed.is_final) {
        (true, false) | (false, true) => Ok(()),
        (false, false) => Err(format!("StageFailed to be retried, with more {what} than the plan allows")),
        (true, true) => Err(format!("StageFailed for good, with fewer {what} than the plan allows")),
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::New => "not submitted",
        Phase::Waiting { .. } => "waiting",
        Phase::Running => "running",
        Phase::Retrying { .. } => "waiting for a retry",
        Phase::Completed => "completed",
        Phase::Failed => "failed",
        Phase::Cancelled => "cancelled",
    }
}
