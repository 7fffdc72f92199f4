//! Finding passages about a topic.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::ports::call::Call;
use crate::ports::provider::{Progress, ProviderError};

/// Searches some body of text: a folder, a wiki, the web.
#[async_trait]
pub trait Search: Send + Sync + 'static {
    /// The name that the provider has in the configuration.
    fn name(&self) -> &str;

    /// True if asking again costs nothing, so that an answer need not be kept for a later attempt.
    fn is_local(&self) -> bool {
        false
    }

    /// Returns the sources that speak about the query, best first. One without passages was not read: it has a URL, and
    /// the caller may fetch it.
    ///
    /// Nothing found is `Ok` with no sources: whether that fails a job is the stage's decision.
    async fn search(
        &self,
        query: &Query,
        call: &Call,
        progress: &dyn Progress,
    ) -> Result<Findings, ProviderError>;
}

/// What to look for, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub topic: String,
    /// At most this many sources (documents).
    pub max_sources: usize,
    /// At most this many passages of one source.
    pub max_passages: usize,
}

/// What a search found, and what it looked through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    pub searched: Searched,
    /// Best first; `n` counts from 1.
    pub sources: Vec<Source>,
    /// Documents that could not be read, with the reason. Never fatal. At most 100 are listed.
    pub skipped: Vec<Skipped>,
    /// How many documents could not be read.
    pub skipped_total: u64,
}

/// The body of text that was searched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Searched {
    /// For example `corpus` or `wikipedia`.
    pub provider: String,
    /// For example the folder, as the operator wrote it.
    pub name: String,
    pub documents: u64,
    pub passages: u64,
}

/// One document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub n: u32,
    pub title: String,
    #[serde(flatten)]
    pub location: Location,
    /// In document order; empty for a source that was found and not read.
    pub passages: Vec<Passage>,
    /// The providers that found it; empty where there was one search only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found_by: Vec<String>,
    /// SHA-256 of the document as it was received, in hex; absent for what was not fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Where a document is: a path relative to its corpus, or a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    Path(String),
    Url(String),
}

/// A run of text under one heading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    pub heading: String,
    /// The text as the document has it; HTML without its tags. White space is folded, but for a line break between
    /// paragraphs, and a form feed where the document holds something that is not prose (a page break, an image).
    pub text: String,
    /// First and last line in the file, from 1.
    pub lines: [u32; 2],
    /// How well it matches the query; higher is better, comparable within one search only.
    pub score: f32,
}

/// A document that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub path: String,
    pub reason: String,
}
