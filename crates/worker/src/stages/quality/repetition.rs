//! What the article says twice, or only copies.

use std::collections::HashSet;

use quillwork_text::similarity::Fingerprint;
use quillwork_text::words::terms;

use crate::stages::assessment::{Check, Finding, Threshold, share};
use crate::stages::quality::Settings;
use crate::stages::quality::draft::Draft;

/// So many words in a row are not the same by chance.
const GRAM: usize = 8;
/// Shorter paragraphs are alike by chance.
const FEW_TERMS: usize = 10;
/// So many paragraphs are compared with each other.
const MOST_PARAGRAPHS: usize = 2_000;

/// The share of runs of eight words that stood in the article before.
pub(super) fn repeated(draft: &Draft<'_>, settings: &Settings) -> Check {
    let mut seen = HashSet::new();
    let (mut n_grams, mut n_repeated) = (0, 0);
    let mut findings = Vec::new();
    for sentence in draft.sentences() {
        let grams = grams(&words(&sentence.text));
        n_grams += grams.len();
        let repeated = grams.into_iter().filter(|&gram| !seen.insert(gram)).count();
        n_repeated += repeated;
        if repeated > 0 {
            findings.push(Finding::citing(
                "the article has said this before",
                &sentence.text,
                &sentence.cites,
            ));
        }
    }
    let value = share(n_repeated, n_grams, 0.0);
    Check::new("repetition", 2.0, value, Threshold::max(settings.max_repetition)).required().with(findings)
}

/// The share of paragraphs that are an earlier one in nearly the same words.
pub(super) fn near_duplicates(draft: &Draft<'_>) -> Check {
    let mut earlier: Vec<Fingerprint> = Vec::new();
    let mut findings = Vec::new();
    for block in draft.prose().take(MOST_PARAGRAPHS) {
        let text: Vec<&str> = block.sentences.iter().map(|sentence| sentence.text.as_str()).collect();
        let text = text.join(" ");
        let terms = terms(&text);
        let Some(fingerprint) = Fingerprint::of_terms(&terms).filter(|_| terms.len() >= FEW_TERMS) else {
            continue;
        };
        if earlier.iter().any(|it| it.is_near(fingerprint)) {
            findings.push(Finding::at("an earlier paragraph says this in nearly the same words", &text));
        }
        earlier.push(fingerprint);
    }
    let value = share(findings.len(), earlier.len(), 0.0);
    Check::new("near_duplicates", 1.0, value, Threshold::max(0.0)).with(findings)
}

/// The share of words that stand in a source just so, eight or more in a row; none for what quotes by design.
pub(super) fn copied(draft: &Draft<'_>, settings: &Settings) -> Option<Check> {
    if draft.is_extractive() {
        return None;
    }
    // What the article has is looked for in the sources: they may be a hundred times as long.
    let own: HashSet<u64> = draft.sentences().flat_map(|sentence| grams(&words(&sentence.text))).collect();
    let passages = draft.cited.iter().flat_map(|cited| &cited.passages);
    let copied: HashSet<u64> = passages
        .flat_map(|passage| passage.text.lines())
        .flat_map(|block| grams(&words(block)))
        .filter(|gram| own.contains(gram))
        .collect();
    let (mut n_words, mut n_copied) = (0, 0);
    let mut findings = Vec::new();
    for sentence in draft.sentences() {
        let words = words(&sentence.text);
        let mut end = 0;
        let mut n_same = 0;
        for (start, gram) in grams(&words).into_iter().enumerate() {
            if copied.contains(&gram) {
                n_same += start + GRAM - end.max(start);
                end = start + GRAM;
            }
        }
        n_words += words.len();
        n_copied += n_same;
        if n_same * 2 > words.len() {
            findings.push(Finding::citing("copied word for word", &sentence.text, &sentence.cites));
        }
    }
    let value = share(n_copied, n_words, 0.0);
    Some(Check::new("copied", 1.0, value, Threshold::max(settings.max_copied)).with(findings))
}

/// The hash of each word, in lower case.
fn words(text: &str) -> Vec<u64> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words
        .map(|word| word.chars().flat_map(char::to_lowercase).fold(SEED, |hash, c| mix(hash, u64::from(c))))
        .collect()
}

/// The hash of each run of eight words.
fn grams(words: &[u64]) -> Vec<u64> {
    words.windows(GRAM).map(|gram| gram.iter().fold(SEED, |hash, &word| mix(hash, word))).collect()
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// One step of a hash that need not resist anybody: a collision is a false finding once in a very long time.
fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
