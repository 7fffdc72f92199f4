//! When finished jobs leave the log, and where to.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Span;

/// How long finished jobs stay in the log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionSettings {
    /// Jobs that ended longer ago leave the log; absent to keep all for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<Span>,
    /// The folder for the events of jobs that leave; absent to drop them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) archive_dir: Option<PathBuf>,
    /// How often the process whose projections are active looks for such jobs.
    pub(crate) interval: Span,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { keep: None, archive_dir: None, interval: Span::millis(3_600_000) }
    }
}
