//! Writing an article from passages.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::ports::provider::{Progress, ProviderError};
use crate::ports::search::{Findings, Location};

/// Writes articles: by extracting sentences, or with a language model.
#[async_trait]
pub trait Writer: Send + Sync + 'static {
    /// Writes about `brief.topic` from `findings` alone, citing them by their `n`.
    async fn write(
        &self,
        brief: &Brief,
        findings: &Findings,
        progress: &dyn Progress,
    ) -> Result<Article, ProviderError>;
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    pub topic: String,
    /// About this many words at most.
    pub max_words: usize,
}

/// A finished article: the result of a job, as clients read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Article {
    pub title: String,
    /// Ends with a `## Sources` section.
    pub markdown: String,
    /// The sources that the article cites, and no others, numbered from 1 without a gap.
    pub sources: Vec<CitedSource>,
    /// How it was written, for example `extractive`.
    pub method: String,
    /// The language model, if one was used.
    pub model: Option<String>,
    /// What it cost, if a provider was paid.
    pub usage: Option<Usage>,
}

/// A source that an article cites.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CitedSource {
    pub n: u32,
    pub title: String,
    #[serde(flatten)]
    pub location: Location,
    /// For each quote, the first and last line of the passage it stands in, from 1.
    pub lines: Vec<[u32; 2]>,
    /// What the article takes from this source, word for word, white space folded.
    pub quotes: Vec<String>,
}

/// Tokens as the provider counted them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}
