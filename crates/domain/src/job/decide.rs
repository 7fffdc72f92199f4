//! What happens when a command meets a job. The whole business, on two screens.

use std::time::Duration;

use crate::id::Attempt;
use crate::job::budget::{self, Refused};
use crate::job::failure::Cost;
use crate::job::rounds::end_of_group;
use crate::job::{
    Command, ErrorClass, Event, Job, JobCancelled, JobError, JobFailed, JobRetried, Phase, Rejection,
    StageCompleted, StageFailed, StagePhase, StageStarted, StageState, Status, StepRecorded,
};
use crate::plan::{Jitter, PlannedStage, StageIndex};
use crate::time::Timestamp;

/// A stage records at most this many steps.
pub const MAX_STEPS: usize = 10_000;

/// Decides what `command` makes happen to `job`.
///
/// No events means that the command was obeyed before, or comes too late to matter.
pub fn decide(job: &Job, command: Command) -> Result<Vec<Event>, Rejection> {
    if let Command::Submit(submission) = command {
        return match &job.submitted {
            None => Ok(vec![Event::JobSubmitted(submission)]),
            Some(existing) if *existing == submission => Ok(vec![]),
            Some(_) => Err(Rejection::AlreadySubmitted),
        };
    }
    let Some(current) = job.planned(job.current()) else {
        return Err(Rejection::NotFound);
    };
    match command {
        // Handled above.
        Command::Submit(_) => Ok(vec![]),
        Command::StartStage { stage, worker, at } => {
            let (Some(state), Some(planned)) = (job.stage(stage), job.planned(stage)) else {
                return Err(Rejection::NothingToStart);
            };
            let due = match state.phase {
                StagePhase::Waiting { run_at } => run_at.is_none_or(|run_at| run_at <= at),
                StagePhase::Retrying { retry_at } => retry_at <= at,
                StagePhase::Parked { until } => until.is_some_and(|until| until <= at),
                StagePhase::Pending | StagePhase::Running | StagePhase::Done | StagePhase::Stopped => false,
            };
            if !due {
                return Err(Rejection::NothingToStart);
            }
            Ok(vec![Event::StageStarted(StageStarted {
                stage: planned.name.clone(),
                attempt: state.attempt.next(),
                worker: worker.as_ref().to_owned(),
            })])
        }
        Command::RecordStep { stage, attempt, key, output, spent } => match hold(job, stage, attempt)? {
            Hold::Lost => Ok(vec![]),
            Hold::Held(state, _) if state.steps.iter().any(|step| step.key == key) => Ok(vec![]),
            Hold::Held(state, _) if state.steps.len() >= MAX_STEPS => Err(Rejection::TooManySteps(MAX_STEPS)),
            Hold::Held(_, planned) => {
                let stage = planned.name.clone();
                Ok(vec![Event::StepRecorded(StepRecorded { stage, attempt, step_key: key, output, spent })])
            }
        },
        Command::CompleteStage { stage, attempt, output, usage, rework } => {
            match hold(job, stage, attempt)? {
                Hold::Lost => Ok(vec![]),
                Hold::Held(_, planned) => {
                    let end = end_of_group(job, stage, attempt, rework.as_ref())
                        .or_else(|| budget::pause(job, stage, None));
                    let stage = planned.name.clone();
                    let completed =
                        Event::StageCompleted(StageCompleted { stage, attempt, output, usage, rework });
                    Ok(std::iter::once(completed).chain(end).collect())
                }
            }
        }
        Command::FailStage { stage, attempt, class, message, retry_after, jitter, at } => {
            let class = budget::class_of(job, class, retry_after);
            match hold(job, stage, attempt)? {
                Hold::Lost => Ok(vec![]),
                Hold::Held(_, planned) if class == ErrorClass::BudgetExhausted => {
                    let refused = Refused { stage, planned, attempt, message, wait: retry_after };
                    Ok(budget::park(job, refused, at))
                }
                Hold::Held(state, planned) => {
                    let wait = retry(state, planned, class, retry_after, jitter);
                    Ok(fail(planned, attempt, class, message, wait.map(|wait| at.plus(wait))))
                }
            }
        }
        Command::Cancel { reason } => match job.phase {
            Phase::Cancelled => Ok(vec![]),
            Phase::Completed => Err(Rejection::NotCancellable(Status::Completed)),
            Phase::Failed => Err(Rejection::NotCancellable(Status::Failed)),
            Phase::New | Phase::Open => Ok(vec![Event::JobCancelled(JobCancelled { reason })]),
        },
        Command::Retry => match job.phase {
            Phase::Failed | Phase::Cancelled => {
                let first =
                    job.to_retry().first().copied().and_then(|place| job.planned(StageIndex::at(place)));
                let stage = first.unwrap_or(current).name.clone();
                Ok(vec![Event::JobRetried(JobRetried { stage })])
            }
            Phase::Completed => Err(Rejection::NotRetryable(Status::Completed)),
            // Whatever time it is: of an open job it only matters whether it has begun.
            Phase::New | Phase::Open => {
                Err(Rejection::NotRetryable(job.status(Timestamp::MAX).unwrap_or(Status::Queued)))
            }
        },
        Command::SetBudget { max_cost_micros } => budget::set(job, max_cost_micros),
        Command::Resume => budget::resume(job),
        Command::Abandon { stage, class, message } if !job.is_terminal() => {
            let stage = job.open().find(|open| *open == stage).unwrap_or_else(|| job.current());
            let name = job.planned(stage).unwrap_or(current).name.clone();
            let attempt = job.stage(stage).map(|stage| stage.attempt).unwrap_or_default();
            let error = JobError { class, message, stage: name, attempt };
            Ok(vec![Event::JobFailed(JobFailed { error })])
        }
        Command::Abandon { .. } => Ok(vec![]),
    }
}

/// Whether a worker's attempt still counts.
enum Hold<'a> {
    Held(&'a StageState, &'a PlannedStage),
    /// The attempt was real and is over: finished, lost to another worker, or its job has ended or gone back.
    Lost,
}

fn hold(job: &Job, stage: StageIndex, attempt: Attempt) -> Result<Hold<'_>, Rejection> {
    let unknown = Rejection::UnknownAttempt(attempt);
    let (Some(state), Some(planned)) = (job.stage(stage), job.planned(stage)) else {
        return Err(unknown);
    };
    if attempt.0 == 0 || attempt > state.attempt {
        return Err(unknown);
    }
    let held = !job.is_terminal() && state.phase == StagePhase::Running && attempt == state.attempt;
    Ok(if held { Hold::Held(state, planned) } else { Hold::Lost })
}

/// How long to wait before the next attempt; None if there is none.
fn retry(
    state: &StageState,
    planned: &PlannedStage,
    class: ErrorClass,
    retry_after: Option<Duration>,
    jitter: Jitter,
) -> Option<Duration> {
    let asked = retry_after.unwrap_or_default();
    match class.cost() {
        Cost::Attempt => {
            let failures = state.failures.saturating_add(1);
            (failures < planned.max_attempts).then(|| planned.backoff.delay(failures, jitter).max(asked))
        }
        Cost::Patience => {
            let rate_limits = state.rate_limits.saturating_add(1);
            // All that wait for a provider are told the same time. After it they come back spread out, and the more so the
            // more often they came in vain.
            (rate_limits <= planned.max_rate_limited)
                .then(|| asked.saturating_add(planned.backoff.delay(rate_limits, jitter)))
        }
        Cost::Worker => {
            // The first loss is most likely a deploy or a crash that has nothing to do with the job.
            (state.losses < planned.max_lost).then(|| match state.losses {
                0 => Duration::ZERO,
                losses => planned.backoff.delay(losses, jitter),
            })
        }
        Cost::Nothing => Some(Duration::ZERO),
        Cost::Everything => None,
    }
}

fn fail(
    planned: &PlannedStage,
    attempt: Attempt,
    class: ErrorClass,
    message: String,
    retry_at: Option<Timestamp>,
) -> Vec<Event> {
    let stage = planned.name.clone();
    let failed = StageFailed {
        stage: stage.clone(),
        attempt,
        error: message.clone(),
        class,
        retry_at,
        is_final: retry_at.is_none(),
    };
    let mut events = vec![Event::StageFailed(failed)];
    if retry_at.is_none() {
        events.push(Event::JobFailed(JobFailed { error: JobError { class, message, stage, attempt } }));
    }
    events
}
