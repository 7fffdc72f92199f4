//! What every port to the outside world shares: its error, and a way to say how far it is.

use std::time::Duration;

use quillwork_domain::job::ErrorClass;

/// A failed call to a provider, classified so that the job's plan can decide what follows.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    pub class: ErrorClass,
    /// For people: what failed, on what, and what to do.
    pub message: String,
    /// How long the provider asked us to stay away.
    pub retry_after: Option<Duration>,
}

impl ProviderError {
    /// An error that the same call will meet again.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Permanent, message: message.into(), retry_after: None }
    }

    /// An error that may be gone the next time.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Transient, message: message.into(), retry_after: None }
    }
}

/// Receives how far a long call is.
///
/// Reports are for people who watch; they are not events and may be dropped.
pub trait Progress: Send + Sync {
    /// `done` of `total` units (`total` is 0 while unknown), and what is being done.
    fn report(&self, done: u64, total: u64, message: &str);

    /// True once nobody wants the result any more; a long call should return soon.
    fn cancelled(&self) -> bool {
        false
    }
}

/// For callers that do not watch.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn report(&self, _done: u64, _total: u64, _message: &str) {}
}
