//! What can be asked of a job. Time and chance are data.

use std::sync::Arc;
use std::time::Duration;

use crate::id::Attempt;
use crate::job::{ErrorClass, JobSubmitted, Rework, Spent, Usage};
use crate::payload::Payload;
use crate::plan::{Jitter, StageIndex};
use crate::time::Timestamp;

/// A wish, in the imperative.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Create the job.
    Submit(Arc<JobSubmitted>),
    /// Hand a waiting stage to a worker.
    StartStage { stage: StageIndex, worker: Arc<str>, at: Timestamp },
    /// Keep a finished step.
    RecordStep { stage: StageIndex, attempt: Attempt, key: String, output: Payload, spent: Option<Spent> },
    /// Keep a stage's result.
    CompleteStage {
        stage: StageIndex,
        attempt: Attempt,
        output: Payload,
        usage: Option<Usage>,
        rework: Option<Rework>,
    },
    /// Report that an attempt failed.
    FailStage {
        stage: StageIndex,
        attempt: Attempt,
        class: ErrorClass,
        message: String,
        /// What the provider asked for; if a budget is used up, how long until there is a new one by itself.
        retry_after: Option<Duration>,
        jitter: Jitter,
        at: Timestamp,
    },
    /// Stop the job, wherever it is.
    Cancel { reason: Option<String> },
    /// Set a failed or cancelled job going again.
    Retry,
    /// Say how much the job may cost, over all that it has cost.
    SetBudget { max_cost_micros: u64 },
    /// Let stages that wait for money try again.
    Resume,
    /// Give up a job of which no worker can ever run `stage`.
    Abandon { stage: StageIndex, class: ErrorClass, message: String },
}
