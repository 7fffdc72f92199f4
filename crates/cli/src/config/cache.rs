//! What is kept of answers from outside, and for how long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Span;

/// Answers of searches, pages and models that are used again. Whatever of it fails is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CacheSettings {
    /// In the memory of this process, in bytes.
    pub(crate) memory_bytes: u64,
    /// In the store, in bytes; 0 for none.
    pub(crate) store_bytes: u64,
    /// What a search found.
    pub(crate) search_ttl: Span,
    /// A page.
    pub(crate) page_ttl: Span,
    /// What a model wrote.
    pub(crate) completion_ttl: Span,
    /// That there is nothing: no result, no such page.
    pub(crate) negative_ttl: Span,
    /// Whether what a model wrote at a temperature over 0 is used again, too.
    pub(crate) warm_completions: bool,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 16 * 1024 * 1024,
            store_bytes: 512 * 1024 * 1024,
            search_ttl: Span::millis(6 * 3_600_000),
            page_ttl: Span::millis(24 * 3_600_000),
            completion_ttl: Span::millis(30 * 86_400_000),
            negative_ttl: Span::millis(600_000),
            warm_completions: false,
        }
    }
}
