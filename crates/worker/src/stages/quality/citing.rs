//! Whether citations lead anywhere, and whether there are enough of them.

use std::collections::BTreeSet;

use crate::stages::assessment::{Check, Finding, Threshold, share};
use crate::stages::quality::Settings;
use crate::stages::quality::draft::{Draft, is_cited};

/// A label before a list is no paragraph to cite for.
const FEW_WORDS: usize = 8;

pub(super) fn checks(draft: &Draft<'_>, settings: &Settings) -> [Check; 4] {
    [resolved(draft), paragraphs(draft, settings), sentences(draft, settings), sources(draft, settings)]
}

/// The share of citations that name a source which research has found.
fn resolved(draft: &Draft<'_>) -> Check {
    let mut n_cites = 0;
    let mut findings = Vec::new();
    for sentence in draft.blocks.iter().flat_map(|block| &block.sentences) {
        n_cites += sentence.cites.len();
        for &n in &sentence.cites {
            let problem = if draft.source(n).is_some() {
                continue;
            } else if draft.article.sources.iter().any(|source| source.n == n) {
                format!("[{n}] is a source that research has not found")
            } else {
                format!("[{n}] is not among the sources")
            };
            findings.push(Finding::citing(problem, &sentence.text, &[n]));
        }
    }
    if n_cites == 0 {
        findings.push(Finding::new("the article cites nothing"));
    }
    let value = share(n_cites.saturating_sub(findings.len()), n_cites, 0.0);
    Check::new("citations_resolve", 3.0, value, Threshold::min(1.0)).required().with(findings)
}

fn paragraphs(draft: &Draft<'_>, settings: &Settings) -> Check {
    let mut n_paragraphs = 0;
    let mut findings = Vec::new();
    for block in draft.prose() {
        let text: Vec<&str> = block.sentences.iter().map(|sentence| sentence.text.as_str()).collect();
        let text = text.join(" ");
        if is_cited(block) {
            n_paragraphs += 1;
        } else if text.split_whitespace().count() >= FEW_WORDS {
            n_paragraphs += 1;
            findings.push(Finding::at("the paragraph cites nothing", &text));
        }
    }
    let value = share(n_paragraphs - findings.len(), n_paragraphs, 0.0);
    Check::new("cited_paragraphs", 2.0, value, Threshold::min(settings.min_cited_paragraphs))
        .required()
        .with(findings)
}

fn sentences(draft: &Draft<'_>, settings: &Settings) -> Check {
    let n_sentences = draft.sentences().count();
    let n_cited = draft.sentences().filter(|sentence| !sentence.cites.is_empty()).count();
    let value = share(n_cited, n_sentences, 0.0);
    Check::new("cited_sentences", 1.0, value, Threshold::min(settings.min_cited_sentences))
}

/// How many sources are cited. No more can be asked for than were found.
fn sources(draft: &Draft<'_>, settings: &Settings) -> Check {
    let cited: BTreeSet<u32> = draft.sentences().flat_map(|sentence| &sentence.cites).copied().collect();
    let n_cited = cited.into_iter().filter(|&n| draft.source(n).is_some()).count();
    let least = settings.min_sources.min(draft.n_found.max(1));
    Check::new("sources", 1.0, n_cited as f64, Threshold::min(least as f64))
}
