//! Judges an article as a search engine would, and derives what a page of it needs besides the text.

use async_trait::async_trait;
use quillwork_app::ports::writer::Article;
use quillwork_text::render::to_html;
use serde::{Deserialize, Serialize};

use crate::context::StageContext;
use crate::stage::{Stage, StageError, StageInput, StageOutput};
use crate::stages::assessment::{Check, Gate, Verdict, off_the_runtime, shortened_to};
use crate::stages::seo::json_ld::JsonLd;
use crate::stages::seo::page::Page;
use crate::stages::within;

mod json_ld;
mod keyword;
mod page;
mod snippet;
mod structure;
#[cfg(test)]
mod tests;

/// Longer titles are shortened: a page has no use for them, and a report must not be as long as its article.
const TITLE_CHARS: usize = 1_000;

/// `settings.seo`; docs/quality.md explains each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    gate: Gate,
    max_rounds: u32,
    min_score: f64,
    /// What the article should be found by; the topic if there is none.
    keyword: Option<String>,
    min_keyword_share: f64,
    max_keyword_density: f64,
    min_h2: usize,
    max_paragraph_words: usize,
    min_internal_links: usize,
    min_external_links: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gate: Gate::default(),
            max_rounds: 2,
            min_score: 0.7,
            keyword: None,
            min_keyword_share: 0.6,
            max_keyword_density: 0.03,
            min_h2: 2,
            max_paragraph_words: 150,
            min_internal_links: 0,
            min_external_links: 1,
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("min_score", self.min_score),
            ("min_keyword_share", self.min_keyword_share),
            ("max_keyword_density", self.max_keyword_density),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{name}: expected 0 to 1, got {value}"));
            }
        }
        if !(1..=5).contains(&self.max_rounds) {
            return Err(format!("max_rounds: expected 1 to 5, got {}", self.max_rounds));
        }
        for (name, value, range) in [
            ("min_h2", self.min_h2, 0..=100),
            ("max_paragraph_words", self.max_paragraph_words, 20..=2_000),
            ("min_internal_links", self.min_internal_links, 0..=100),
            ("min_external_links", self.min_external_links, 0..=100),
        ] {
            within(name, value, range)?;
        }
        match &self.keyword {
            Some(keyword) if keyword.trim().is_empty() || keyword.chars().count() > 200 => {
                Err("keyword: expected 1 to 200 characters".to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What the stage leaves in the log.
#[derive(Debug, Serialize)]
struct Report {
    kind: &'static str,
    /// Counts the drafts, from 1.
    round: u32,
    #[serde(flatten)]
    verdict: Verdict,
    checks: Vec<Check>,
    keyword: String,
    title: String,
    /// For the page's `meta` element.
    description: String,
    slug: String,
    json_ld: JsonLd,
}

pub(super) struct Seo;

#[async_trait]
impl Stage for Seo {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let settings: Settings = input.settings()?;
        let (gate, min_score) = (settings.gate, settings.min_score);
        let can_go_back = cx.rounds_since_retry() <= settings.max_rounds;
        let round = cx.round();
        let judged = off_the_runtime(move || {
            let article: Article = input.latest("an article")?;
            Ok(assess(round, &input.topic, &article, &settings))
        });
        match judged.await? {
            Ok(report) => gate.output(&report, &report.verdict, round, can_go_back),
            Err(nothing) => gate.without_article("seo", round, min_score, nothing),
        }
    }
}

fn assess(round: u32, topic: &str, article: &Article, settings: &Settings) -> Report {
    let page = Page::read(&to_html(&article.markdown));
    let keyword = settings.keyword.as_deref().unwrap_or(topic).trim();
    let description = snippet::description(&article.markdown);
    let n_words = page.blocks.iter().map(|block| block.text.split_whitespace().count()).sum();
    let mut checks = structure::checks(&page, settings);
    checks.extend(snippet::checks(&article.title, &description));
    checks.extend(keyword::checks(keyword, &article.title, &page, settings));
    Report {
        kind: "seo",
        round,
        verdict: Verdict::of(&checks, settings.min_score),
        checks,
        keyword: keyword.to_owned(),
        title: shortened_to(TITLE_CHARS, &article.title),
        slug: snippet::slug(&article.title),
        json_ld: JsonLd::of(article, &description, keyword, n_words),
        description,
    }
}
