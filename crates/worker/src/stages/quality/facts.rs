//! Numbers and names that no cited source has.

use std::collections::HashSet;

use crate::stages::assessment::{Check, Finding, Threshold, share, shortened_to};
use crate::stages::quality::Settings;
use crate::stages::quality::draft::Claim;
use crate::stages::quality::evidence::Evidence;

/// Small numbers are as often written as words.
#[rustfmt::skip]
const NUMERALS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
];

/// More facts of one sentence are counted only, and longer ones shortened.
const SHOWN_FACTS: usize = 5;
const FACT_CHARS: usize = 60;

/// The share of cited sentences with a number or a name that their sources do not have.
pub(super) fn check(
    topic: &str,
    claims: &[Claim<'_>],
    evidence: &mut Evidence,
    settings: &Settings,
) -> Check {
    // Whoever asked has said this himself.
    let asked: HashSet<u32> = evidence.vocabulary.number(topic).into_iter().collect();
    let mut n_claims = 0;
    let mut findings = Vec::new();
    for claim in claims.iter().filter(|claim| !claim.cites.is_empty()) {
        n_claims += 1;
        let text = &claim.sentence.text;
        let mut unknown = facts(text);
        unknown.retain(|fact| !is_known(fact, claim.cites, &asked, evidence));
        if !unknown.is_empty() {
            findings.push(Finding::citing(problem(&unknown), text, claim.cites));
        }
    }
    let value = share(findings.len(), n_claims, 0.0);
    Check::new("unsupported_facts", 3.0, value, Threshold::max(settings.max_unsupported_facts)).with(findings)
}

/// Names the first of them.
fn problem(unknown: &[&str]) -> String {
    let shown: Vec<String> =
        unknown.iter().take(SHOWN_FACTS).map(|fact| shortened_to(FACT_CHARS, fact)).collect();
    let problem = format!("what it cites has no {}", shown.join(", no "));
    match unknown.len() - shown.len() {
        0 => problem,
        n_more => format!("{problem}, and {n_more} more"),
    }
}

fn is_known(fact: &str, cites: &[u32], asked: &HashSet<u32>, evidence: &mut Evidence) -> bool {
    let number = normal(fact);
    let numeral = number.parse::<usize>().ok().and_then(|n| NUMERALS.get(n));
    let mut written = |text: &str| evidence.vocabulary.number(text);
    let (terms, numeral) = (written(fact), numeral.map(|word| written(word)).unwrap_or_default());
    let is_number = number.contains(|c: char| c.is_ascii_digit());
    let mut sources = cites.iter().filter_map(|n| evidence.sources.get(n));
    terms.iter().all(|term| asked.contains(term))
        || sources.any(|source| {
            if is_number {
                source.has_number(&number) || numeral.iter().any(|&term| source.has(term))
            } else {
                terms.iter().all(|&term| source.has(term))
            }
        })
}

/// The numbers of a sentence, and the words in it that begin with a capital for no other reason than to be a name.
fn facts(text: &str) -> Vec<&str> {
    let mut facts: Vec<&str> = numbers(text).collect();
    let mut begins = true;
    for word in text.split_whitespace() {
        for part in word.split(|c: char| !c.is_alphanumeric()) {
            let mut letters = part.chars();
            let capital = letters.next().is_some_and(char::is_uppercase);
            // A capital inside a word is never that of a sentence.
            let name = capital && !begins || part.chars().skip(1).any(char::is_uppercase);
            if name && part.chars().count() > 1 && !part.contains(|c: char| c.is_ascii_digit()) {
                facts.push(part);
            }
            begins &= part.is_empty();
        }
        // What follows may be a sentence of its own, or its beginning in quotation marks.
        begins |= word.ends_with([':', '.', '!', '?', '"', '“', '—', '–']);
    }
    facts.dedup();
    facts
}

pub(super) fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '.' && c != ',')
        .map(|part| part.trim_matches(['.', ',']))
        .filter(|part| part.contains(|c: char| c.is_ascii_digit()))
}

/// As all write it: without separators, and in lower case for what is no plain number.
pub(super) fn normal(number: &str) -> String {
    number.replace(',', "").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_first_facts() {
        let long = "9".repeat(100);
        for (unknown, expected) in [
            (&["1", "B"][..], "no 1, no B"),
            (&["1", "2", "3", "4", "5"], "no 1, no 2, no 3, no 4, no 5"),
            (&["1", "2", "3", "4", "5", "6", "7"], "no 1, no 2, no 3, no 4, no 5, and 2 more"),
            (&[&long], &format!("no {}…", "9".repeat(60))),
        ] {
            assert_eq!(problem(unknown), format!("what it cites has {expected}"));
        }
    }

    #[test]
    fn facts_are_numbers_and_names() {
        for (text, expected) in [
            ("The cache is fresh.", &[][..]),
            (
                "In 2014, Google's PageSpeedd was 1,000 times faster.",
                &["2014", "1,000", "Google", "PageSpeedd"],
            ),
            ("PostgreSQL stores it: Later it is read by I and A.", &["PostgreSQL"]),
            ("It follows RFC 9111, section 4.2.3.", &["9111", "4.2.3", "RFC"]),
            ("He says \"Then it ends\" in sha256.", &["sha256", "Then"]),
        ] {
            assert_eq!(facts(text), expected, "{text}");
        }
    }
}
