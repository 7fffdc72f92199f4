//! Runs one attempt of a stage and reports how it ended, whatever happens in it.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use quillwork_app::budgets::TenantBudgets;
use quillwork_app::engine::{Engine, Outcome, PackedOutput, StageRun};
use quillwork_app::payload::{MissingOutput, pack, unpack};
use quillwork_app::ports::store::LogReader;
use quillwork_domain::id::{Attempt, JobId};
use quillwork_domain::job::ErrorClass;
use quillwork_domain::payload::Payload;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::context::StageContext;
use crate::stage::{Stage, StageError, StageInput, StageOutput};
use crate::start_rate::StartRate;

/// Outputs over this many bytes of JSON fail their stage.
pub const MAX_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// Longer reasons to send a job back fail their stage: findings belong into its output.
pub(crate) const MAX_REASON_BYTES: usize = 4 * 1024;

/// Runs the stages of one handler.
#[derive(Clone)]
pub struct Runner {
    /// One handle for all runs: a handle of its own for each would cost more than the rest of its preparation.
    pub engine: Arc<Engine>,
    pub stage: Arc<dyn Stage>,
    pub start_rate: Option<Arc<StartRate>>,
    pub budgets: Option<Arc<TenantBudgets>>,
}

/// Of which attempt a line of the log speaks.
struct About {
    job: JobId,
    stage: String,
    attempt: Attempt,
    correlation_id: Uuid,
}

impl About {
    /// Says how the attempt ended.
    fn say(&self, outcome: &Outcome, elapsed: Duration) {
        let Self { job, stage, attempt: Attempt(attempt), correlation_id } = self;
        let elapsed_ms = elapsed.as_millis();
        match outcome {
            Outcome::Completed(_) => {
                tracing::debug!(%job, stage, attempt, %correlation_id, elapsed_ms, "stage completed");
            }
            Outcome::Failed { class: ErrorClass::Released, .. } => {
                tracing::info!(%job, stage, attempt, %correlation_id, elapsed_ms, "stage given back");
            }
            Outcome::Failed { class, message, .. } => {
                tracing::warn!(%job, stage, attempt, %correlation_id, elapsed_ms, %class, error = message, "stage failed");
            }
        }
    }
}

impl Runner {
    /// Runs an attempt to its end: result, error, timeout, panic or cancellation, each reported to the engine.
    pub async fn run(&self, run: StageRun) {
        let Some(planned) = run.planned() else { return };
        let about = About {
            job: run.job,
            stage: planned.name.clone(),
            attempt: run.attempt,
            correlation_id: run.meta.correlation_id,
        };
        // Written down field by field when it is made, even if nothing is said in it: most stages say nothing.
        let span =
            tracing::debug_span!("stage", job = %about.job, stage = about.stage, attempt = about.attempt.0);
        let timeout = Duration::from_millis(planned.timeout_ms);
        let (stage, attempt) = (run.stage, run.attempt);
        let started = Instant::now();
        let outcome = self.attempt(run, timeout).instrument(span).await;
        about.say(&outcome, started.elapsed());
        self.engine.finish(about.job, stage, attempt, outcome);
    }

    async fn attempt(&self, run: StageRun, timeout: Duration) -> Outcome {
        // Before the timeout begins: the stage has no part in how long it waits for its turn.
        if let Some(start_rate) = &self.start_rate {
            let turn = tokio::select! {
                biased;
                () = run.cancel.cancelled() => Err(released()),
                turn = start_rate.turn() => turn,
            };
            if let Err(error) = turn {
                return failed(error);
            }
        }
        let deadline = Instant::now() + timeout;
        let cx = StageContext::new(run, deadline.into_std(), self.engine.clone(), self.budgets.clone());
        let work = AssertUnwindSafe(self.stage_output(&cx)).catch_unwind();
        tokio::select! {
            biased;
            ended = work => match ended {
                Ok(Ok(output)) => packed(output),
                Ok(Err(error)) => failed(error),
                Err(panic) => failed(StageError::new(ErrorClass::Panic, panic_message(panic.as_ref()))),
            },
            () = cx.cancellation().cancelled() => failed(released()),
            () = tokio::time::sleep_until(deadline) => {
                let message = format!("the stage took longer than its timeout of {} ms", timeout.as_millis());
                failed(StageError::new(ErrorClass::Timeout, message))
            }
        }
    }

    async fn stage_output(&self, cx: &StageContext) -> Result<StageOutput, StageError> {
        let run = cx.run();
        let reader = self.engine.feed().reader();
        let outputs = unpack_all(reader.as_ref(), &run.outputs).await?;
        let feedback = unpack_all(reader.as_ref(), &run.feedback).await?;
        let settings = run.submitted.settings.as_deref();
        let handler = run.planned().map(|planned| &*planned.handler).unwrap_or_default();
        let input = StageInput {
            topic: run.submitted.topic.clone(),
            settings: settings.map(|settings| member(settings, handler)).transpose()?.flatten(),
            outputs,
            feedback,
        };
        self.stage.run(input, cx).await
    }
}

async fn unpack_all(reader: &dyn LogReader, payloads: &[Payload]) -> Result<Vec<Arc<RawValue>>, StageError> {
    let mut unpacked = Vec::with_capacity(payloads.len());
    for payload in payloads {
        unpacked.push(unpack(reader, payload).await.map_err(missing)?);
    }
    Ok(unpacked)
}

/// The member of the job's settings that is for `handler`.
fn member(settings: &RawValue, handler: &str) -> Result<Option<Box<RawValue>>, StageError> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(settings.get()).map_err(|error| {
        StageError::permanent(format!("the job's settings are not a JSON object: {error}"))
    })?;
    Ok(members.get(handler).map(|json| (*json).to_owned()))
}

fn missing(error: MissingOutput) -> StageError {
    match error {
        MissingOutput::Store(error) => StageError::new(ErrorClass::Transient, error.to_string()),
        MissingOutput::Absent(_) | MissingOutput::Damaged(_) => {
            StageError::permanent(format!("the output of an earlier stage cannot be read: {error}"))
        }
    }
}

fn packed(output: StageOutput) -> Outcome {
    let n_bytes = output.json.get().len();
    if n_bytes > MAX_OUTPUT_BYTES {
        let message = format!("the output has {n_bytes} bytes; at most {MAX_OUTPUT_BYTES} are kept");
        return failed(StageError::new(ErrorClass::TooLarge, message));
    }
    let StageOutput { json, usage, rework } = output;
    if let Some(rework) = &rework
        && rework.reason.len() > MAX_REASON_BYTES
    {
        let n_bytes = rework.reason.len();
        let message = format!(
            "the reason to send the job back has {n_bytes} bytes; at most {MAX_REASON_BYTES} are kept"
        );
        return failed(StageError::new(ErrorClass::TooLarge, message));
    }
    match pack(json) {
        Ok((payload, blob)) => Outcome::Completed(PackedOutput { payload, blob, usage, rework }),
        Err(error) => failed(StageError::permanent(format!("the output cannot be compressed: {error}"))),
    }
}

fn failed(error: StageError) -> Outcome {
    Outcome::Failed { class: error.class, message: error.message, retry_after: error.retry_after }
}

fn released() -> StageError {
    StageError::new(ErrorClass::Released, "the worker gave the stage back before it was done")
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    format!("the stage panicked: {}", text.unwrap_or("no message"))
}
