//! Judges an article by its sources, without a model.

use async_trait::async_trait;
use quillwork_app::ports::search::Findings;
use quillwork_app::ports::writer::Article;
use serde::{Deserialize, Serialize};

use crate::context::StageContext;
use crate::stage::{Stage, StageError, StageInput, StageOutput};
use crate::stages::assessment::{Check, Gate, Verdict, off_the_runtime};
use crate::stages::quality::draft::Draft;
use crate::stages::quality::evidence::Evidence;
use crate::stages::within;

mod citing;
mod draft;
mod evidence;
mod facts;
mod form;
mod grounding;
mod repetition;
#[cfg(test)]
mod tests;

/// `settings.quality`; docs/quality.md explains each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    gate: Gate,
    max_rounds: u32,
    min_score: f64,
    min_grounding: f64,
    min_sentence_grounding: f64,
    min_grounded_sentences: f64,
    max_unsupported_facts: f64,
    min_cited_paragraphs: f64,
    min_cited_sentences: f64,
    min_sources: usize,
    max_repetition: f64,
    max_copied: f64,
    max_grade: f64,
    long_sentence: usize,
    min_words: usize,
    max_words: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gate: Gate::default(),
            max_rounds: 2,
            min_score: 0.75,
            min_grounding: 0.65,
            min_sentence_grounding: 0.5,
            min_grounded_sentences: 0.9,
            max_unsupported_facts: 0.1,
            min_cited_paragraphs: 0.8,
            min_cited_sentences: 0.5,
            min_sources: 2,
            max_repetition: 0.02,
            max_copied: 0.5,
            max_grade: 18.0,
            long_sentence: 50,
            min_words: 50,
            max_words: 20_000,
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("min_score", self.min_score),
            ("min_grounding", self.min_grounding),
            ("min_sentence_grounding", self.min_sentence_grounding),
            ("min_grounded_sentences", self.min_grounded_sentences),
            ("max_unsupported_facts", self.max_unsupported_facts),
            ("min_cited_paragraphs", self.min_cited_paragraphs),
            ("min_cited_sentences", self.min_cited_sentences),
            ("max_repetition", self.max_repetition),
            ("max_copied", self.max_copied),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{name}: expected 0 to 1, got {value}"));
            }
        }
        if !(0.0..=100.0).contains(&self.max_grade) {
            return Err(format!("max_grade: expected 0 to 100, got {}", self.max_grade));
        }
        if !(1..=5).contains(&self.max_rounds) {
            return Err(format!("max_rounds: expected 1 to 5, got {}", self.max_rounds));
        }
        for (name, value, range) in [
            ("min_sources", self.min_sources, 0..=50),
            ("long_sentence", self.long_sentence, 1..=1_000),
            ("min_words", self.min_words, 0..=100_000),
            ("max_words", self.max_words, self.min_words..=100_000),
        ] {
            within(name, value, range)?;
        }
        Ok(())
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
}

pub(super) struct Quality;

#[async_trait]
impl Stage for Quality {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let settings: Settings = input.settings()?;
        let (gate, min_score) = (settings.gate, settings.min_score);
        let can_go_back = cx.rounds_since_retry() <= settings.max_rounds;
        let round = cx.round();
        let judged = off_the_runtime(move || {
            let article: Article = input.latest("an article")?;
            let findings: Findings = input.latest("research findings")?;
            Ok(assess(round, &input.topic, &article, &findings, &settings))
        });
        match judged.await? {
            Ok(report) => gate.output(&report, &report.verdict, round, can_go_back),
            Err(nothing) => gate.without_article("quality", round, min_score, nothing),
        }
    }
}

fn assess(round: u32, topic: &str, article: &Article, findings: &Findings, settings: &Settings) -> Report {
    let draft = Draft::new(article, findings);
    let claims = draft.claims();
    let mut evidence = Evidence::of(&draft);
    let mut checks = Vec::new();
    checks.extend(grounding::checks(&claims, &mut evidence, settings));
    checks.push(facts::check(topic, &claims, &mut evidence, settings));
    checks.extend(citing::checks(&draft, settings));
    checks.push(repetition::repeated(&draft, settings));
    checks.push(repetition::near_duplicates(&draft));
    checks.extend(repetition::copied(&draft, settings));
    checks.extend(form::checks(&draft, settings));
    Report { kind: "quality", round, verdict: Verdict::of(&checks, settings.min_score), checks }
}
