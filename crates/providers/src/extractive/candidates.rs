//! The sentences that an article can be made of.

use std::collections::{BTreeMap, BTreeSet};

use quillwork_app::ports::search::{Findings, Location};
use quillwork_text::escape::reads_as_itself;
use quillwork_text::sentence::sentences;
use quillwork_text::words;

use crate::corpus::apparatus::is_history;
use crate::corpus::origin::Format;
use crate::extractive::definition::defined_subject;
use crate::extractive::quotable::quotability;

/// More sentences than this only cost time; the best-placed ones are kept.
const MOST: usize = 800;

/// The share of the topic that a sentence must hold by itself, or else the heading above it.
const ENOUGH: f64 = 0.2;
const NAMED: f64 = 0.45;

/// In passages of this share of the best score, one word of the topic is enough.
const WELL_FOUND: f64 = 0.5;

/// A sentence, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Index into the findings' sources, and into the source's passages.
    pub(crate) source: usize,
    pub(crate) passage: usize,
    pub(crate) text: String,
    pub(crate) n_words: usize,
    /// As [`quotability`] rates it, lowered where Markdown would hide its signs.
    pub(crate) quotability: f64,
    /// Whether it says what a part of the topic is.
    pub(crate) defines: bool,
    /// Share of the topic in the sentence, and in the heading above it; rare words count most.
    pub(crate) on_topic: f64,
    pub(crate) context: f64,
    /// The score of its passage, from 0 to 1.
    pub(crate) found: f64,
    /// Weight per term, sorted by term, of length 1.
    pub(crate) terms: Vec<(u32, f64)>,
}

/// Every quotable sentence of the findings, each text once, in the order of the findings.
pub(crate) fn candidates(topic: &str, findings: &Findings) -> Vec<Candidate> {
    let mut found = quotable(findings);
    let term_lists: Vec<Vec<String>> = found.iter().map(|it| words::terms(&it.text)).collect();
    weigh(&mut found, &term_lists);
    let topic = Topic::new(topic, &term_lists);
    for (candidate, terms) in found.iter_mut().zip(&term_lists) {
        candidate.on_topic = topic.share(terms);
        let source = &findings.sources[candidate.source];
        let heading = &source.passages[candidate.passage].heading;
        let above = if heading.is_empty() { &source.title } else { heading };
        candidate.context = topic.share(&words::terms(above));
        let subject = defined_subject(&candidate.text).unwrap_or_default();
        candidate.defines = topic.share(&words::terms(subject)) > 0.0;
    }
    // A sentence with little of the topic belongs to it only by what stands around it.
    found.retain(|it| {
        it.on_topic >= ENOUGH || it.context >= NAMED || it.on_topic > 0.0 && it.found >= WELL_FOUND
    });
    if found.len() > MOST {
        let mut scores: Vec<f64> = found.iter().map(placed).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let least = scores[MOST - 1];
        found.retain(|it| placed(it) >= least);
        found.truncate(MOST);
    }
    found
}

fn placed(candidate: &Candidate) -> f64 {
    candidate.quotability * (candidate.on_topic + candidate.found)
}

fn quotable(findings: &Findings) -> Vec<Candidate> {
    let scores = || findings.sources.iter().flat_map(|source| &source.passages).map(|it| f64::from(it.score));
    let best = scores().fold(f64::MIN_POSITIVE, f64::max);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (n_source, source) in findings.sources.iter().enumerate() {
        let markdown = is_markdown(&source.location);
        for (n_passage, passage) in source.passages.iter().enumerate() {
            let history = is_history(&passage.heading) || is_history(&source.title);
            for block in passage.text.lines() {
                for range in sentences(block) {
                    let text = without_mark(&block[range]);
                    let mut rating = quotability(text);
                    if rating == 0.0 || !seen.insert(text.to_owned()) {
                        continue;
                    }
                    if !markdown && !reads_as_itself(text) {
                        rating *= 0.15;
                    }
                    if history {
                        rating *= 0.6;
                    }
                    found.push(Candidate {
                        source: n_source,
                        passage: n_passage,
                        text: text.to_owned(),
                        n_words: text.split_whitespace().count(),
                        quotability: rating,
                        defines: false,
                        on_topic: 0.0,
                        context: 0.0,
                        found: f64::from(passage.score) / best,
                        terms: Vec::new(),
                    });
                }
            }
        }
    }
    found
}

/// Whether quotes of a source are Markdown already.
pub(crate) fn is_markdown(location: &Location) -> bool {
    match location {
        Location::Path(path) => matches!(Format::of(path), Some((Format::Markdown, _))),
        Location::Url(_) => false,
    }
}

/// The sentence without the mark of its list item.
fn without_mark(sentence: &str) -> &str {
    match sentence.split_once(char::is_whitespace) {
        Some(("-" | "*" | "+" | "o" | "•" | "--", rest)) => rest.trim_start(),
        Some((mark, rest))
            if mark.len() <= 5 && mark.ends_with(')') && !mark[..mark.len() - 1].contains(')') =>
        {
            let inner = mark.trim_start_matches('(').trim_end_matches(')');
            let counted =
                inner.len() <= 3 && inner.chars().all(|c| c.is_ascii_alphanumeric()) && !inner.is_empty();
            if counted { rest.trim_start() } else { sentence }
        }
        _ => sentence,
    }
}

/// Gives every candidate its term weights: frequent in the sentence, rare among the sentences.
fn weigh(candidates: &mut [Candidate], term_lists: &[Vec<String>]) {
    let mut frequencies: BTreeMap<&str, usize> = BTreeMap::new();
    for terms in term_lists {
        for term in terms.iter().map(String::as_str).collect::<BTreeSet<_>>() {
            *frequencies.entry(term).or_default() += 1;
        }
    }
    let ids: BTreeMap<&str, u32> = frequencies.keys().copied().zip(0u32..).collect();
    let total = term_lists.len() as f64;
    for (candidate, terms) in candidates.iter_mut().zip(term_lists) {
        let mut weights: BTreeMap<u32, f64> = BTreeMap::new();
        for term in terms {
            let rarity = (1.0 + total / frequencies[term.as_str()] as f64).ln();
            *weights.entry(ids[term.as_str()]).or_default() += rarity;
        }
        let length =
            weights.values().map(|weight| weight * weight).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        candidate.terms = weights.into_iter().map(|(id, weight)| (id, weight / length)).collect();
    }
}

/// The terms of the topic, with their rarity among the sentences.
struct Topic {
    terms: Vec<(String, f64)>,
    whole: f64,
}

impl Topic {
    fn new(topic: &str, term_lists: &[Vec<String>]) -> Self {
        let total = term_lists.len() as f64;
        let terms: Vec<(String, f64)> = words::topic_terms(topic)
            .into_iter()
            .map(|term| {
                let frequency = term_lists.iter().filter(|terms| terms.contains(&term)).count() as f64;
                let rarity = (1.0 + total / (frequency + 1.0)).ln();
                (term, rarity)
            })
            .collect();
        let whole = terms.iter().map(|(_, rarity)| rarity).sum::<f64>().max(f64::MIN_POSITIVE);
        Self { terms, whole }
    }

    fn share(&self, terms: &[String]) -> f64 {
        let held: f64 =
            self.terms.iter().filter(|(term, _)| terms.contains(term)).map(|(_, rarity)| rarity).sum();
        held / self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_marks_are_not_quoted() {
        assert_eq!(without_mark("o The sender waits."), "The sender waits.");
        assert_eq!(without_mark("(a) The sender waits."), "The sender waits.");
        assert_eq!(without_mark("Only the sender waits."), "Only the sender waits.");
    }
}
