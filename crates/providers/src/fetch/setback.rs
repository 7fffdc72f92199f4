//! Why a request did not bring a page.

use quillwork_app::ports::provider::ProviderError;
use quillwork_domain::job::ErrorClass;

#[derive(Clone, Debug)]
pub(super) enum Setback {
    /// The page cannot be had: the reason, for people.
    Skip(String),
    Fail {
        error: ProviderError,
        /// A moment later it may go well.
        soon: bool,
    },
}

impl Setback {
    pub(super) fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    /// May be gone in a moment.
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self::Fail { error: ProviderError::transient(message), soon: true }
    }

    /// May be gone when the job tries again, and took too long to try at once.
    pub(super) fn lasting(message: impl Into<String>) -> Self {
        Self::Fail { error: ProviderError::transient(message), soon: false }
    }

    pub(super) fn rate_limited(message: impl Into<String>, retry_after: Option<std::time::Duration>) -> Self {
        let error = ProviderError { class: ErrorClass::RateLimited, message: message.into(), retry_after };
        Self::Fail { soon: error.retry_after.is_none(), error }
    }

    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Fail { soon: true, .. })
    }
}
