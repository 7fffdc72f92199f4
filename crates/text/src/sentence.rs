//! Where sentences begin and end.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// After these a full stop ends no sentence.
#[rustfmt::skip]
const ABBREVIATIONS: &[&str] = &[
    "a.k.a", "al", "approx", "ca", "cf", "ch", "corp", "dept", "dr", "e.g", "ed", "eds", "eq", "eqs", "esp",
    "ex", "fig", "figs", "i.e", "inc", "incl", "jr", "ltd", "mr", "mrs", "ms", "pp", "prof", "ref", "refs",
    "resp", "sec", "sect", "sr", "st", "viz", "vol", "vs", "w.r.t",
];

/// These are abbreviations only before a number: "No. 5", but "The answer is no."
const NUMBERED: &[&str] = &["art", "no", "nos", "p", "para", "rev", "ver"];

/// The byte range of each sentence of a block, without the white space around it.
pub fn sentences(block: &str) -> Vec<Range<usize>> {
    let mut sentences: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for (offset, piece) in block.split_sentence_bound_indices() {
        let end = offset + piece.len();
        if end < block.len() && goes_on(&block[start..end], &block[end..]) {
            continue;
        }
        let text = &block[start..end];
        let trimmed = text.trim();
        if !trimmed.is_empty() {
            let from = start + (text.len() - text.trim_start().len());
            sentences.push(from..from + trimmed.len());
        }
        start = end;
    }
    sentences
}

/// Whether the text before a supposed boundary runs on into the text after it.
fn goes_on(before: &str, after: &str) -> bool {
    let trimmed = before.trim_end();
    // "foo().Bar" and "example.Com" are one word.
    if trimmed.len() == before.len() {
        return true;
    }
    let Some(stem) = trimmed.strip_suffix('.') else { return false };
    let word = stem.rsplit(|c: char| c.is_whitespace() || "([{\"'“‘".contains(c)).next().unwrap_or_default();
    let lower = word.to_lowercase();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    initial
        || ABBREVIATIONS.contains(&lower.as_str())
        || (NUMBERED.contains(&lower.as_str()) && after.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(block: &str, expected: &[&str]) {
        let found: Vec<&str> = sentences(block).into_iter().map(|range| &block[range]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn abbreviations_and_initials_end_nothing() {
        check(
            "Some caches, e.g. Squid, store it. See Fig. 3 and J. Postel et al. for more. It is No. 5. Why? No.",
            &[
                "Some caches, e.g. Squid, store it.",
                "See Fig. 3 and J. Postel et al. for more.",
                "It is No. 5.",
                "Why?",
                "No.",
            ],
        );
    }

    #[test]
    fn a_boundary_needs_white_space() {
        check(
            "Call foo.Bar() first. Then (see RFC 1.) stop.",
            &["Call foo.Bar() first.", "Then (see RFC 1.) stop."],
        );
    }
}
