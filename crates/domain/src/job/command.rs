//! What can be asked of a job. Time and chance are data.

use std::sync::Arc;
use std::time::Duration;

use crate::id::Attempt;
use crate::job::{ErrorClass, JobSubmitted, Spent, Usage};
use crate::payload::Payload;
use crate::plan::{Jitter, StageIndex};
use crate::time::Timestamp;

/// A wish, in the imperative.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Create the job.
    Submit(Arc<JobSubmitted>),
    /// Hand the waiting stage to a worker.
    StartStage { worker: Arc<str>, at: Timestamp },
    /// Keep a finished step.
    RecordStep { stage: StageIndex, attempt: Attempt, key: String, output: Payload, spent: Option<Spent> },
    /// Keep a stage's result.
    CompleteStage { stage: StageIndex, attempt: Attempt, output: Payload, usage: Option<Usage> },
    /// Report that an attempt failed.
    FailStage {
        stage: StageIndex,
        attempt: Attempt,
        class: ErrorClass,
        message: String,
        /// What the provider asked for.
        retry_after: Option<Duration>,
        jitter: Jitter,
        at: Timestamp,
    },
    /// Stop the job, wherever it is.
    Cancel { reason: Option<String> },
    /// Set a failed or cancelled job going again.
    Retry,
    /// Give up a job that no worker can ever run.
    Abandon { class: ErrorClass, message: String },
}
