//! Having a stage done by a service of the user.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_domain::id::{Attempt, JobId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::ports::call::Call;
use crate::ports::provider::ProviderError;

/// An answer over this many bytes is refused; so is what a stage of ours returns.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A service that does the stages of one handler.
#[async_trait]
pub trait RemoteStage: Send + Sync + 'static {
    /// Has one attempt done, and returns the stage's output: sound JSON without white space between its parts.
    ///
    /// The service hears of a call that is given up only by its connection, which is closed.
    async fn run(&self, request: &RemoteRequest, call: &Call) -> Result<Box<RawValue>, ProviderError>;
}

/// What the service is told; these are the members of the body.
#[derive(Clone, Debug, Serialize)]
pub struct RemoteRequest {
    pub job: JobId,
    /// The stage's name in the plan.
    pub stage: String,
    /// Counts the starts of the stage, from 1.
    pub attempt: Attempt,
    /// Counts from 1; one more each time that a later stage sent the job back.
    pub round: u32,
    pub topic: String,
    /// The job's settings for the handler; `null` if it has none.
    pub settings: Option<Box<RawValue>>,
    /// Of the stages before, in plan order.
    pub outputs: Vec<Arc<RawValue>>,
    /// What the stages had produced that run again in this round, in plan order; empty in the first.
    pub feedback: Vec<Arc<RawValue>>,
    /// The same in every attempt of this stage in this round.
    pub idempotency_key: String,
    /// W3C trace context of the job; goes into a header.
    #[serde(skip)]
    pub traceparent: Option<String>,
}

impl RemoteRequest {
    /// Names the work of a stage, whatever the attempt.
    pub fn key(job: JobId, stage: &str, round: u32) -> String {
        format!("{job}:{stage}:{round}")
    }
}
