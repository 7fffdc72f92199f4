//! What an event makes of a job.

use crate::job::failure::Cost;
use crate::job::{Event, Job, Phase, Step};
use crate::plan::StageIndex;

/// Folds one event.
///
/// Total: an event that does not fit the state changes what it can and never panics, so that any history folds.
pub fn evolve(mut job: Job, event: &Event) -> Job {
    job.version = job.version.next();
    match event {
        Event::JobSubmitted(submitted) => {
            job.phase = Phase::Waiting { run_at: submitted.run_at };
            job.submitted = Some(submitted.clone());
        }
        Event::StageStarted(started) => {
            job.phase = Phase::Running;
            job.attempt = started.attempt;
        }
        Event::StepRecorded(step) => {
            job.steps.push(Step { key: step.step_key.clone(), output: step.output.clone() });
        }
        Event::StageCompleted(completed) => {
            job.outputs.push(completed.output.clone());
            let next = job.stage.next();
            if job.submitted.as_ref().is_some_and(|submitted| submitted.plan.get(next).is_some()) {
                job = enter(job, next);
            }
        }
        Event::StageFailed(failed) => {
            match failed.class.cost() {
                Cost::Attempt => job.failures = job.failures.saturating_add(1),
                Cost::Patience => job.rate_limits = job.rate_limits.saturating_add(1),
                Cost::Worker => job.losses = job.losses.saturating_add(1),
                Cost::Nothing | Cost::Everything => {}
            }
            job.phase = match failed.retry_at {
                Some(retry_at) => Phase::Retrying { retry_at },
                None => Phase::Failed,
            };
        }
        Event::JobCompleted(_) => {
            job.phase = Phase::Completed;
            job.steps.clear();
        }
        Event::JobFailed(failed) => {
            job.phase = Phase::Failed;
            job.error = Some(failed.error.clone());
        }
        Event::JobCancelled(_) => job.phase = Phase::Cancelled,
        Event::JobRetried(_) => {
            job.phase = Phase::Waiting { run_at: None };
            job.error = None;
            (job.failures, job.rate_limits, job.losses) = (0, 0, 0);
        }
        Event::Queue(_) | Event::Archive(_) => {}
    }
    job
}

/// The job at the beginning of `stage`.
fn enter(job: Job, stage: StageIndex) -> Job {
    Job {
        version: job.version,
        phase: Phase::Waiting { run_at: None },
        submitted: job.submitted,
        stage,
        outputs: job.outputs,
        ..Job::default()
    }
}
