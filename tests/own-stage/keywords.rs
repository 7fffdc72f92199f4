//! Says which words an article is about, for those who index it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use quillwork_text::words::terms;
use quillwork_worker::context::StageContext;
use quillwork_worker::stage::{Stage, StageError, StageInput, StageOutput};
use serde::{Deserialize, Serialize};

/// `settings.keywords`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// Keywords at most.
    max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max: 10 }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), String> {
        if (1..=100).contains(&self.max) {
            return Ok(());
        }
        Err(format!("max: expected 1 to 100, got {}", self.max))
    }
}

/// What this stage needs of an article, whoever wrote it.
#[derive(Deserialize)]
struct Article {
    markdown: String,
}

/// The output. Later stages and clients read it: it may grow, and nothing in it may change its meaning.
#[derive(Serialize)]
struct Output {
    /// Most frequent first.
    keywords: Vec<Keyword>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Keyword {
    /// As words are compared: in lower case, without its ending.
    term: String,
    count: usize,
}

pub(super) struct Keywords;

#[async_trait]
impl Stage for Keywords {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let settings: Settings = input.settings()?;
        let article: Article = input.latest("an article")?;
        // Recorded before it is used: an attempt after a crash reads it instead of counting again. That is nothing to be
        // saved here; it is everything where the work is slow, is paid for, or has effects elsewhere.
        let mut keywords = cx.step("count", async || Ok(count(&article.markdown))).await?;
        keywords.truncate(settings.max);
        StageOutput::new(&Output { keywords })
    }
}

/// By frequency, then by the alphabet, so that the same text always gives the same.
fn count(text: &str) -> Vec<Keyword> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for term in terms(text) {
        *counts.entry(term).or_default() += 1;
    }
    let mut keywords: Vec<Keyword> =
        counts.into_iter().map(|(term, count)| Keyword { term, count }).collect();
    keywords.sort_by_key(|keyword| std::cmp::Reverse(keyword.count));
    keywords
}
