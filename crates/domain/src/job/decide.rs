//! What happens when a command meets a job. The whole business, on two screens.

use std::time::Duration;

use crate::id::Attempt;
use crate::job::failure::Cost;
use crate::job::{
    Command, ErrorClass, Event, Job, JobCancelled, JobCompleted, JobError, JobFailed, JobRetried, Phase,
    Rejection, StageCompleted, StageFailed, StageStarted, Status, StepRecorded,
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
    let Some(current) = job.current() else {
        return Err(Rejection::NotFound);
    };
    match command {
        // Handled above.
        Command::Submit(_) => Ok(vec![]),
        Command::StartStage { worker, at } => {
            let due = match job.phase {
                Phase::Waiting { run_at } => run_at.is_none_or(|run_at| run_at <= at),
                Phase::Retrying { retry_at } => retry_at <= at,
                Phase::New | Phase::Running | Phase::Completed | Phase::Failed | Phase::Cancelled => false,
            };
            if !due {
                return Err(Rejection::NothingToStart);
            }
            Ok(vec![Event::StageStarted(StageStarted {
                stage: current.name.clone(),
                attempt: job.attempt.next(),
                worker: worker.as_ref().to_owned(),
            })])
        }
        Command::RecordStep { stage, attempt, key, output, spent } => match hold(job, stage, attempt)? {
            Hold::Lost => Ok(vec![]),
            Hold::Held if job.steps.iter().any(|step| step.key == key) => Ok(vec![]),
            Hold::Held if job.steps.len() >= MAX_STEPS => Err(Rejection::TooManySteps(MAX_STEPS)),
            Hold::Held => {
                let stage = current.name.clone();
                Ok(vec![Event::StepRecorded(StepRecorded { stage, attempt, step_key: key, output, spent })])
            }
        },
        Command::CompleteStage { stage, attempt, output, usage } => match hold(job, stage, attempt)? {
            Hold::Lost => Ok(vec![]),
            Hold::Held => {
                let completed = StageCompleted { stage: current.name.clone(), attempt, output, usage };
                let mut events = vec![Event::StageCompleted(completed)];
                let has_next = job.submitted.as_ref().is_some_and(|job| job.plan.get(stage.next()).is_some());
                if !has_next {
                    events.push(Event::JobCompleted(JobCompleted {}));
                }
                Ok(events)
            }
        },
        Command::FailStage { stage, attempt, class, message, retry_after, jitter, at } => {
            match hold(job, stage, attempt)? {
                Hold::Lost => Ok(vec![]),
                Hold::Held => {
                    let retry_at = retry(job, current, class, retry_after, jitter).map(|wait| at.plus(wait));
                    Ok(fail(current, attempt, class, message, retry_at))
                }
            }
        }
        Command::Cancel { reason } => match job.phase {
            Phase::Cancelled => Ok(vec![]),
            Phase::Completed => Err(Rejection::NotCancellable(Status::Completed)),
            Phase::Failed => Err(Rejection::NotCancellable(Status::Failed)),
            Phase::New | Phase::Waiting { .. } | Phase::Running | Phase::Retrying { .. } => {
                Ok(vec![Event::JobCancelled(JobCancelled { reason })])
            }
        },
        Command::Retry => match job.phase {
            Phase::Failed | Phase::Cancelled => {
                Ok(vec![Event::JobRetried(JobRetried { stage: current.name.clone() })])
            }
            Phase::Completed => Err(Rejection::NotRetryable(Status::Completed)),
            Phase::Running => Err(Rejection::NotRetryable(Status::Running)),
            Phase::Retrying { .. } => Err(Rejection::NotRetryable(Status::Retrying)),
            Phase::New | Phase::Waiting { .. } => Err(Rejection::NotRetryable(Status::Queued)),
        },
        Command::Abandon { class, message } if !job.is_terminal() => {
            let error = JobError { class, message, stage: current.name.clone(), attempt: job.attempt };
            Ok(vec![Event::JobFailed(JobFailed { error })])
        }
        Command::Abandon { .. } => Ok(vec![]),
    }
}

/// Whether a worker's attempt still counts.
enum Hold {
    Held,
    /// The attempt was real and is over: finished, lost to another worker, or its job has ended.
    Lost,
}

fn hold(job: &Job, stage: StageIndex, attempt: Attempt) -> Result<Hold, Rejection> {
    let started = stage < job.stage || (stage == job.stage && attempt <= job.attempt && attempt.0 > 0);
    if !started {
        return Err(Rejection::UnknownAttempt(attempt));
    }
    let held = job.phase == Phase::Running && stage == job.stage && attempt == job.attempt;
    Ok(if held { Hold::Held } else { Hold::Lost })
}

/// How long to wait before the next attempt; None if there is none.
fn retry(
    job: &Job,
    planned: &PlannedStage,
    class: ErrorClass,
    retry_after: Option<Duration>,
    jitter: Jitter,
) -> Option<Duration> {
    let asked = retry_after.unwrap_or_default();
    match class.cost() {
        Cost::Attempt => {
            let failures = job.failures.saturating_add(1);
            (failures < planned.max_attempts).then(|| planned.backoff.delay(failures, jitter).max(asked))
        }
        Cost::Patience => {
            let rate_limits = job.rate_limits.saturating_add(1);
            (rate_limits <= planned.max_rate_limited)
                .then(|| planned.backoff.delay(rate_limits, jitter).max(asked))
        }
        Cost::Worker => {
            // The first loss is most likely a deploy or a crash that has nothing to do with the job.
            (job.losses < planned.max_lost).then(|| match job.losses {
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
