//! Writing an article from passages.

use async_trait::async_trait;
use quillwork_domain::payload::Sha256Digest;
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
    /// The sources that the article cites, and no others, numbered from 1 without a gap. None of an article whose author
    /// says nothing of sources.
    #[serde(default)]
    pub sources: Vec<CitedSource>,
    /// How it was written, for example `extractive`; `unknown` if its author does not say.
    #[serde(default = "unknown")]
    pub method: String,
    /// The language model, if one was used, as its provider names it.
    pub model: Option<String>,
    /// The name that the model's provider has in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What the model was asked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptRef>,
    /// What it cost, if a provider was paid.
    pub usage: Option<Usage>,
    /// Why this is not the article that was asked for, if it is not: no model could write one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
}

fn unknown() -> String {
    "unknown".to_owned()
}

impl Article {
    /// The article as a substitute, which says so to its readers, too; `notice` is the reason as Markdown, in one line.
    pub fn degraded_by(mut self, reason: &str, notice: &str) -> Self {
        let at = self.markdown.find("\n\n").map_or(self.markdown.len(), |end| end + 2);
        let notice = format!("> Degraded: a language model was to write this, and did not. {notice}\n\n");
        self.markdown.insert_str(at, &notice);
        self.degraded = Some(reason.to_owned());
        self
    }
}

/// Which prompt was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptRef {
    pub name: String,
    /// As its file says.
    pub version: u32,
    /// Of the whole file.
    pub sha256: Sha256Digest,
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

impl CitedSource {
    /// The entry in the list of sources at the end of an article; `title` is the title as Markdown.
    pub fn entry(&self, title: &str) -> String {
        let place = match &self.location {
            Location::Path(path) if path.contains('`') => format!("`` {path} ``"),
            Location::Path(path) => format!("`{path}`"),
            Location::Url(url) => format!("<{url}>"),
        };
        let mut ranges = self.lines.clone();
        ranges.sort_unstable();
        ranges.dedup();
        let lines: Vec<String> = ranges
            .iter()
            .map(|[first, last]| if first == last { format!("{first}") } else { format!("{first}–{last}") })
            .collect();
        let word =
            if matches!(ranges.as_slice(), [[first, last]] if first == last) { "line" } else { "lines" };
        format!("{}. {title} — {place}, {word} {}", self.n, lines.join(", "))
    }
}

/// Tokens as the provider counted them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}
