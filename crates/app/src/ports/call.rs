//! What every call to the outside world carries: until when it makes sense, and whether anyone still wants it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quillwork_domain::job::ErrorClass;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::ports::provider::ProviderError;

/// Cheap to clone; handed down to the last request that is made for it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Nothing that ends later than this is of use.
    pub deadline: Instant,
    /// Cancelled when nobody wants the answer any more.
    pub cancel: CancellationToken,
    pub cache: CacheUse,
    /// Whose job it is for.
    pub tenant: Arc<str>,
}

/// Whether an answer from before will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheUse {
    #[default]
    Use,
    /// Ask again, and keep the new answer for others.
    Bypass,
}

impl Call {
    /// A call that belongs to no job.
    pub fn within(time: Duration) -> Self {
        Self {
            deadline: Instant::now() + time,
            cancel: CancellationToken::new(),
            cache: CacheUse::Use,
            tenant: "default".into(),
        }
    }

    /// What is left of the time.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Runs `work` until it is done, the time is up, or nobody wants it; `what` names it in the error.
    pub async fn limit<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(ProviderError {
                class: ErrorClass::Released,
                message: format!("{what} was given up: its result is not wanted any more"),
                retry_after: None,
            }),
            done = tokio::time::timeout_at(self.deadline.into(), work) => {
                done.unwrap_or_else(|_| Err(ProviderError {
                    class: ErrorClass::Timeout,
                    message: format!("{what} did not end in the time that its stage has left"),
                    retry_after: None,
                }))
            }
        }
    }
}
