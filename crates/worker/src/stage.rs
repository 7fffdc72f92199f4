//! What a stage is: I/O that takes data and returns data.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::catalog::CheckSettings;
use quillwork_app::ports::provider::ProviderError;
use quillwork_domain::job::{ErrorClass, Rework, Usage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::context::StageContext;

/// One kind of work. Implement it, and add it to the one list in [`crate::stages`].
///
/// `run` may be called again after a crash, but never after its result is recorded. What must not be done twice
/// belongs into [`StageContext::step`].
#[async_trait]
pub trait Stage: Send + Sync + 'static {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError>;
}

/// A stage under the name that plans use, with its settings check and its default bulkhead.
#[derive(Clone)]
pub struct StageHandler {
    pub name: Arc<str>,
    /// How many of it run at once in a process, unless configured.
    pub default_concurrency: usize,
    pub check_settings: CheckSettings,
    pub stage: Arc<dyn Stage>,
}

/// What a stage is given.
#[derive(Clone, Debug)]
pub struct StageInput {
    pub topic: String,
    /// The job's settings for this handler, if it has any.
    pub settings: Option<Box<RawValue>>,
    /// The outputs of the stages before, in plan order; not of those that run beside this one.
    pub outputs: Vec<Arc<RawValue>>,
    /// What the stages had produced that run again in this round, in plan order: the earlier version of this stage's
    /// own output, and what was said of it. Empty in the first round.
    pub feedback: Vec<Arc<RawValue>>,
}

impl StageInput {
    /// The settings, or their defaults.
    pub fn settings<T: DeserializeOwned + Default>(&self) -> Result<T, StageError> {
        match &self.settings {
            None => Ok(T::default()),
            Some(json) => serde_json::from_str(json.get()).map_err(|error| {
                StageError::permanent(format!("the settings of this stage are wrong: {error}"))
            }),
        }
    }

    /// The latest output before this stage that has the shape of `T`.
    pub fn latest<T: DeserializeOwned>(&self, what: &str) -> Result<T, StageError> {
        self.outputs
            .iter()
            .rev()
            .find_map(|json| serde_json::from_str(json.get()).ok())
            .ok_or_else(|| StageError::permanent(format!("no stage before this one has produced {what}")))
    }
}

/// What a stage returns.
#[derive(Debug)]
pub struct StageOutput {
    pub json: Box<RawValue>,
    pub usage: Option<Usage>,
    /// Set to send the job back to an earlier stage, which then gets this output among its feedback.
    pub rework: Option<Rework>,
}

impl StageOutput {
    /// An output that no provider was paid for, and with which the job goes on.
    pub fn new(value: &impl Serialize) -> Result<Self, StageError> {
        let json = serde_json::value::to_raw_value(value).map_err(|error| {
            StageError::permanent(format!("the output cannot be written as JSON: {error}"))
        })?;
        Ok(Self { json, usage: None, rework: None })
    }
}

/// Why a stage failed; the class decides what follows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StageError {
    pub class: ErrorClass,
    pub message: String,
    pub retry_after: Option<Duration>,
}

impl StageError {
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), retry_after: None }
    }

    /// The same attempt would fail again.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Permanent, message)
    }
}

impl From<ProviderError> for StageError {
    fn from(error: ProviderError) -> Self {
        Self { class: error.class, message: error.message, retry_after: error.retry_after }
    }
}
