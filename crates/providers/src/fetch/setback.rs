//! Why a request did not bring a page.

use quillwork_app::ports::provider::ProviderError;
use quillwork_domain::job::ErrorClass;

#[derive(Clone, Debug)]
pub(super) enum Setback {
    /// The page cannot be had: the reason, for people.
    Skip(String),
    /// It lies where nobody may be asked: the reason, for people.
    Barred(String),
    /// It may be had at another time, or from another machine.
    Fail(ProviderError),
}

impl Setback {
    pub(super) fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self::Fail(ProviderError::transient(message))
    }

    pub(super) fn rate_limited(message: impl Into<String>, retry_after: Option<std::time::Duration>) -> Self {
        Self::Fail(ProviderError { class: ErrorClass::RateLimited, message: message.into(), retry_after })
    }
}
