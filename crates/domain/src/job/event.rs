//! What can have happened to a job. Shapes are frozen by the golden files in `tests/wire/`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::archive::JobsArchived;
use crate::content::ContentEvent;
use crate::id::Attempt;
use crate::job::{ErrorClass, JobError};
use crate::payload::{Payload, Sha256Digest};
use crate::plan::Plan;
use crate::queue::QueueEvent;
use crate::time::Timestamp;

/// An event of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    JobSubmitted(Arc<JobSubmitted>),
    StageStarted(StageStarted),
    StepRecorded(StepRecorded),
    StageCompleted(StageCompleted),
    StageFailed(StageFailed),
    JobCompleted(JobCompleted),
    JobFailed(JobFailed),
    JobCancelled(JobCancelled),
    JobRetried(JobRetried),
    StagesReopened(StagesReopened),
    JobPaused(JobPaused),
    JobResumed(JobResumed),
    BudgetSet(BudgetSet),
    /// Of the queues, and of no job.
    Queue(QueueEvent),
    /// Jobs left the log.
    Archive(JobsArchived),
    /// Of the article of a job.
    Content(ContentEvent),
}

impl Event {
    /// True if nothing more happens to its job by itself.
    pub fn ends_job(&self) -> bool {
        match self {
            Self::JobCompleted(_) | Self::JobFailed(_) | Self::JobCancelled(_) => true,
            Self::JobSubmitted(_)
            | Self::StageStarted(_)
            | Self::StepRecorded(_)
            | Self::StageCompleted(_)
            | Self::StageFailed(_)
            | Self::JobRetried(_)
            | Self::StagesReopened(_)
            | Self::JobPaused(_)
            | Self::JobResumed(_)
            | Self::BudgetSet(_)
            | Self::Queue(_)
            | Self::Archive(_)
            | Self::Content(_) => false,
        }
    }
}

/// A client asked for work. Everything the job needs is in here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobSubmitted {
    pub topic: String,
    /// The name the plan had in the configuration of that moment.
    pub pipeline: String,
    #[serde(with = "crate::wire::plan")]
    pub plan: Plan,
    /// A JSON object with one member per stage handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Arc<RawValue>>,
    /// Higher runs earlier.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i16,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The client's key, unique per tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Digest of the request body that came with the key, to tell a repetition from a mistake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<Sha256Digest>,
    /// How much the job may cost; absent if that is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

impl JobSubmitted {
    /// A submission that says nothing but what it must.
    pub fn new(topic: String, pipeline: String, plan: Plan) -> Self {
        Self {
            topic,
            pipeline,
            plan,
            settings: None,
            priority: 0,
            run_at: None,
            labels: BTreeMap::new(),
            idempotency_key: None,
            request_digest: None,
            budget: None,
        }
    }
}

fn is_zero(n: &i16) -> bool {
    *n == 0
}

/// How much a job may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Budget {
    /// In millionths of a US dollar.
    pub max_cost_micros: u64,
}

impl PartialEq for JobSubmitted {
    fn eq(&self, other: &Self) -> bool {
        // `RawValue` compares by its text.
        let settings = |job: &Self| job.settings.as_ref().map(|json| json.get().to_owned());
        (&self.topic, &self.pipeline, &self.plan, settings(self), self.priority, self.run_at)
            == (&other.topic, &other.pipeline, &other.plan, settings(other), other.priority, other.run_at)
            && (&self.labels, &self.idempotency_key, &self.request_digest, self.budget)
                == (&other.labels, &other.idempotency_key, &other.request_digest, other.budget)
    }
}

/// A worker holds the stage from here on; its first effect comes after this event is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStarted {
    pub stage: String,
    pub attempt: Attempt,
    /// The worker's name, for people; fencing goes by lease, not by name.
    pub worker: String,
}

/// A step inside a stage finished; a later attempt gets its output instead of running it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecorded {
    pub stage: String,
    pub attempt: Attempt,
    pub step_key: String,
    pub output: Payload,
    /// What the step's call was billed for, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Spent>,
}

/// What one call to a provider consumed, and what it cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// The name that the provider has in the configuration.
    pub provider: String,
    /// As the provider named it in its answer.
    pub model: String,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// In millionths of a US dollar, rounded up.
    pub cost_micros: u64,
    /// The version of the price table that the cost was taken from; absent if the model has no price there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
}

/// The stage's one result in this round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCompleted {
    pub stage: String,
    pub attempt: Attempt,
    pub output: Payload,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The job is to go back; it does once all stages beside this one have their result, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rework: Option<Rework>,
}

/// A stage's wish that an earlier one runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rework {
    /// The name or the handler of an earlier stage; of several with that handler, the nearest.
    pub to: String,
    /// What is to be better, for people; for stages it is in the output.
    pub reason: String,
}

/// What an attempt consumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// The attempt failed. Either `retry_at` says when the next may start, or `final` is true and the job fails, or neither:
/// then the stage waits for money, until somebody grants some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageFailed {
    pub stage: String,
    pub attempt: Attempt,
    pub error: String,
    pub class: ErrorClass,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    #[serde(default, rename = "final", skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
}

impl StageFailed {
    /// True if the stage waits for money.
    pub fn is_parked(&self) -> bool {
        self.class == ErrorClass::BudgetExhausted && !self.is_final
    }
}

/// The last stage has its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCompleted {}

/// A stage failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailed {
    pub error: JobError,
}

/// Somebody stopped the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCancelled {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A stage sent the job back: the group of `stage` and everything after it runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagesReopened {
    /// The earliest stage that was asked for.
    pub stage: String,
    /// The number of the round that begins; the first was 1.
    pub round: u32,
    pub reason: String,
}

/// Somebody set a failed or cancelled job going again, at the stage where it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRetried {
    pub stage: String,
}

/// All that is left to do of the job waits for money, and holds no worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPaused {
    pub reason: PauseReason,
    /// The job goes on by itself then; absent if somebody must act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Which budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// That of the job.
    JobBudget,
    /// What the job's tenant may spend in a day.
    TenantBudget,
}

impl PauseReason {
    pub const ALL: [Self; 2] = [Self::JobBudget, Self::TenantBudget];

    /// The name as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobBudget => "job_budget",
            Self::TenantBudget => "tenant_budget",
        }
    }
}

/// The stages that wait for money may be started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResumed {}

/// Somebody said how much the job may cost from now on, over all that it has cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetSet {
    /// In millionths of a US dollar.
    pub max_cost_micros: u64,
}
