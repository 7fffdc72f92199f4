//! Deciding what workers report, and what must be reported of those who no longer can.

use quillwork_domain::job::{Command, ErrorClass};
use quillwork_domain::plan::Jitter;
use quillwork_domain::time::Timestamp;
use uuid::Uuid;

use crate::engine::Outcome;
use crate::engine::plan_batch::{Authority, BatchPlan};
use crate::engine::work::Report;
use crate::ports::store::{Holder, LeaseToken, TaskKey};

/// Fails the stage of a lost worker; the plan decides whether it runs again.
pub(super) fn give_up(plan: &mut BatchPlan<'_>, key: TaskKey, lease: LeaseToken, now: Timestamp) {
    let meta = plan.on_behalf(key.job, "reaper");
    let command = Command::FailStage {
        stage: key.stage,
        attempt: plan.attempt(key),
        class: ErrorClass::Lost,
        message: "the worker was lost while it ran this stage".into(),
        retry_after: None,
        jitter: jitter(),
        at: now,
    };
    let authority = Authority { meta, held_by: Holder::Lease(lease) };
    if let Err(refusal) = plan.apply(key.job, command, &authority) {
        tracing::error!(job = %key.job, %refusal, "an orphaned task belongs to no running stage; rebuild the queue");
    }
}

/// Decides what a worker reported. True if the attempt still counted.
pub(super) fn decide_report(plan: &mut BatchPlan<'_>, report: &Report, mine: Holder, now: Timestamp) -> bool {
    let (job, command, blob) = match report {
        Report::Step { job, stage, attempt, step, .. } => {
            let command = Command::RecordStep {
                stage: *stage,
                attempt: *attempt,
                key: step.key.clone(),
                output: step.payload.clone(),
                spent: step.spent.clone(),
            };
            (*job, command, step.blob.as_ref())
        }
        Report::Finished { job, stage, attempt, outcome: Outcome::Completed(output) } => {
            let command = Command::CompleteStage {
                stage: *stage,
                attempt: *attempt,
                output: output.payload.clone(),
                usage: output.usage.clone(),
                rework: output.rework.clone(),
            };
            (*job, command, output.blob.as_ref())
        }
        Report::Finished {
            job,
            stage,
            attempt,
            outcome: Outcome::Failed { class, message, retry_after },
        } => {
            let command = Command::FailStage {
                stage: *stage,
                attempt: *attempt,
                class: *class,
                message: message.clone(),
                retry_after: *retry_after,
                jitter: jitter(),
                at: now,
            };
            (*job, command, None)
        }
    };
    let counts = plan.holds(job, &command);
    let authority = Authority { meta: plan.on_behalf(job, "worker"), held_by: mine };
    match plan.apply(job, command, &authority) {
        Ok(_) if counts => {
            plan.keep(blob);
            true
        }
        Ok(_) => {
            tracing::info!(%job, "the late word of a lost attempt was refused");
            false
        }
        Err(refusal) => {
            tracing::warn!(%job, %refusal, "a worker's report was refused");
            false
        }
    }
}

/// Randomness enters here, as data.
fn jitter() -> Jitter {
    // The last bytes of a version 7 UUID are random.
    let id = Uuid::now_v7();
    Jitter(u16::from_le_bytes([id.as_bytes()[14], id.as_bytes()[15]]))
}
