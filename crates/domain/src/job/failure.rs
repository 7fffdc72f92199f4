//! Why an attempt failed, and what that means for the next one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Attempt;

/// The class of a failure; it decides whether and when the stage runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May be gone the next time: a refused connection, a 503.
    Transient,
    /// A provider asked for patience; waits without counting as a failure.
    RateLimited,
    /// The money or the allowance is used up.
    Quota,
    /// The same call would fail again.
    Permanent,
    /// An input or an output exceeds a limit.
    TooLarge,
    /// The output did not pass its checks.
    BadOutput,
    /// The attempt exceeded the stage's timeout.
    Timeout,
    /// The stage panicked: a defect in its code.
    Panic,
    /// The worker vanished while it held the stage.
    Lost,
    /// The worker gave the stage back because it was shutting down.
    Released,
    /// Nothing to write about: no source speaks of the topic.
    NoSourcesFound,
    /// No worker knows the stage's handler.
    UnknownHandler,
    /// The job's own history cannot be read by this version.
    Undecodable,
    /// The job or its tenant has spent what it may; the stage waits for more.
    BudgetExhausted,
}

/// What a failure of some class costs the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// One of `max_attempts`.
    Attempt,
    /// One of `max_rate_limited`.
    Patience,
    /// One of `max_lost`.
    Worker,
    /// Nothing.
    Nothing,
    /// The job.
    Everything,
}

impl ErrorClass {
    /// All classes, for documentation and tests.
    pub const ALL: [Self; 14] = [
        Self::Transient,
        Self::RateLimited,
        Self::Quota,
        Self::Permanent,
        Self::TooLarge,
        Self::BadOutput,
        Self::Timeout,
        Self::Panic,
        Self::Lost,
        Self::Released,
        Self::NoSourcesFound,
        Self::UnknownHandler,
        Self::Undecodable,
        Self::BudgetExhausted,
    ];

    pub(super) fn cost(self) -> Cost {
        match self {
            Self::Transient | Self::BadOutput | Self::Timeout | Self::Panic => Cost::Attempt,
            Self::RateLimited => Cost::Patience,
            Self::Lost => Cost::Worker,
            Self::Released | Self::BudgetExhausted => Cost::Nothing,
            Self::Quota
            | Self::Permanent
            | Self::TooLarge
            | Self::NoSourcesFound
            | Self::UnknownHandler
            | Self::Undecodable => Cost::Everything,
        }
    }

    /// The name as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate_limited",
            Self::Quota => "quota",
            Self::Permanent => "permanent",
            Self::TooLarge => "too_large",
            Self::BadOutput => "bad_output",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::Lost => "lost",
            Self::Released => "released",
            Self::NoSourcesFound => "no_sources_found",
            Self::UnknownHandler => "unknown_handler",
            Self::Undecodable => "undecodable",
            Self::BudgetExhausted => "budget_exhausted",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    pub class: ErrorClass,
    pub message: String,
    pub stage: String,
    pub attempt: Attempt,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_serde_writes() {
        for class in ErrorClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
    }
}
