//! What the engine hands to workers, and what comes back.

use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::envelope::Meta;
use quillwork_domain::id::{Attempt, JobId, Position};
use quillwork_domain::job::{ErrorClass, Job, JobSubmitted, Rework, Spent, Step, Usage};
use quillwork_domain::payload::Payload;
use quillwork_domain::plan::{PlannedStage, StageIndex};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::engine::slots::RunKey;
use crate::ports::store::Blob;

/// A stage whose start is durable: everything its attempt needs.
#[derive(Clone, Debug)]
pub struct StageRun {
    pub job: JobId,
    pub stage: StageIndex,
    pub attempt: Attempt,
    pub submitted: Arc<JobSubmitted>,
    /// Of the stages before, in plan order; not of those beside it.
    pub outputs: Vec<Payload>,
    /// Counts from 1; one more each time that a stage sent the job back.
    pub round: u32,
    /// How often somebody set the job going again.
    pub retries: u32,
    /// How many rounds there were since the last manual retry, counted from 1.
    pub rounds: u32,
    /// What the stages that were reopened for this round had produced, in plan order.
    pub feedback: Vec<Payload>,
    /// What earlier attempts of this stage finished.
    pub steps: Vec<Step>,
    /// When the attempt was started.
    pub funds: Funds,
    /// Correlation and trace context of the job; the causation is the start event.
    pub meta: Meta,
    /// Cancelled when the job is, or when the process wants the stage back.
    pub cancel: CancellationToken,
}

impl StageRun {
    /// The stage as planned. A started stage is always in its plan.
    pub fn planned(&self) -> Option<&PlannedStage> {
        self.submitted.plan.get(self.stage)
    }
}

/// What a stage returned, ready to be committed.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedOutput {
    pub payload: Payload,
    pub blob: Option<Blob>,
    pub usage: Option<Usage>,
    pub rework: Option<Rework>,
}

/// A step that need not run again, ready to be committed.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedStep {
    pub key: String,
    pub payload: Payload,
    pub blob: Option<Blob>,
    pub spent: Option<Spent>,
}

/// What was paid for a job, and how much may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// Over all stages, rounds and retries, in millionths of a US dollar.
    pub spent: u64,
    /// None if it is not limited.
    pub budget: Option<u64>,
}

impl Funds {
    pub(crate) fn of(job: &Job) -> Self {
        Self { spent: job.spent, budget: job.budget }
    }
}

/// A step that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedStep {
    /// The log reached this far when it was.
    pub position: Position,
    /// Of its job from there on.
    pub funds: Funds,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Completed(PackedOutput),
    Failed { class: ErrorClass, message: String, retry_after: Option<Duration> },
}

/// What workers tell the engine. Bounded by the slots, so the queue for it need not be.
pub(crate) enum Report {
    Finished {
        job: JobId,
        stage: StageIndex,
        attempt: Attempt,
        outcome: Outcome,
    },
    Step {
        job: JobId,
        stage: StageIndex,
        attempt: Attempt,
        step: FinishedStep,
        reply: oneshot::Sender<Option<RecordedStep>>,
    },
}

impl Report {
    /// The attempt that this is the end of.
    pub(crate) fn ended(&self) -> Option<RunKey> {
        match self {
            Self::Finished { job, stage, attempt, .. } => {
                Some(RunKey { job: *job, stage: *stage, attempt: *attempt })
            }
            Self::Step { .. } => None,
        }
    }

    /// The attempt that this is the successful end of.
    pub(crate) fn completed(&self) -> Option<RunKey> {
        match self {
            Self::Finished { outcome: Outcome::Completed(_), .. } => self.ended(),
            Self::Finished { outcome: Outcome::Failed { .. }, .. } | Self::Step { .. } => None,
        }
    }

    pub(crate) fn job(&self) -> JobId {
        match self {
            Self::Finished { job, .. } | Self::Step { job, .. } => *job,
        }
    }
}

/// One stage handler as the engine sees it: a name, a bounded number of slots, and where to send what was started.
pub struct WorkerPort {
    pub handler: Arc<str>,
    /// The bulkhead: at most this many stages of the handler run at once in this process.
    pub slots: usize,
    pub runs: mpsc::UnboundedSender<StageRun>,
}
