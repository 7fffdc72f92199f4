//! Whether the sources say what the article says that they say.

use std::collections::HashSet;

use quillwork_text::words::has_spaces;

use crate::stages::assessment::{Check, Finding, Threshold, share};
use crate::stages::quality::Settings;
use crate::stages::quality::draft::Claim;
use crate::stages::quality::evidence::Evidence;

/// A sentence of fewer different words claims nothing.
const FEW_TERMS: usize = 3;
/// More words and citations of a sentence only cost time.
const MOST_TERMS: usize = 200;
const MOST_CITES: usize = 8;

/// The share of its words that a sentence has from its sources: their mean, and how many sentences have enough.
///
/// None of an article that has no words to compare, because its script sets no spaces between them.
pub(super) fn checks(claims: &[Claim<'_>], evidence: &mut Evidence, settings: &Settings) -> Vec<Check> {
    let mut shares = Vec::new();
    let mut findings = Vec::new();
    let (mut n_cited, mut n_wordless) = (0usize, 0usize);
    for claim in claims.iter().filter(|claim| !claim.cites.is_empty()) {
        let terms = terms(&claim.sentence.text, evidence);
        n_cited += 1;
        n_wordless += usize::from(terms.is_empty());
        if terms.len() < FEW_TERMS {
            continue;
        }
        let grounding = grounding(claim, &terms, evidence);
        shares.push(grounding);
        if grounding < settings.min_sentence_grounding {
            let problem = format!("{:.0} % of its words are in what it cites", 100.0 * grounding);
            findings.push((grounding, Finding::citing(problem, &claim.sentence.text, claim.cites)));
        }
    }
    if n_cited > 0 && n_wordless == n_cited {
        return vec![];
    }
    // The worst first; of equals, the first in the article.
    findings.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let grounded = shares.len() - findings.len();
    let mean = if shares.is_empty() { 0.0 } else { shares.iter().sum::<f64>() / shares.len() as f64 };
    vec![
        Check::new("grounding", 4.0, mean, Threshold::min(settings.min_grounding)).required(),
        Check::new(
            "grounded_sentences",
            3.0,
            share(grounded, shares.len(), 0.0),
            Threshold::min(settings.min_grounded_sentences),
        )
        .required()
        .with(findings.into_iter().map(|(_, finding)| finding).collect()),
    ]
}

/// The different words of a sentence, as far as they can be told apart.
fn terms(text: &str, evidence: &mut Evidence) -> Vec<u32> {
    if !has_spaces(text) {
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let mut terms = evidence.vocabulary.number(text);
    terms.retain(|term| seen.insert(*term));
    terms.truncate(MOST_TERMS);
    terms
}

/// The share of the terms that the sources have.
fn grounding(claim: &Claim<'_>, terms: &[u32], evidence: &Evidence) -> f64 {
    // Who cites two sources may take half of the sentence from each.
    let mut held = vec![false; terms.len()];
    for source in claim.cites.iter().take(MOST_CITES).filter_map(|n| evidence.sources.get(n)) {
        source.hold(terms, &mut held);
    }
    share(held.iter().filter(|held| **held).count(), terms.len(), 0.0)
}
