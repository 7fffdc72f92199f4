//! Which sentences can stand alone, away from their document.

use crate::corpus::document::GAP;
use crate::extractive::phrases::{ABOUT_THE_DOCUMENT, DANGLING};

/// Shorter sentences say little, longer ones are lists in disguise.
const WORDS: std::ops::RangeInclusive<usize> = 8..=48;

/// Of 100 visible signs, so many must be letters: the rest is code, formulas or tables.
const LETTERS: usize = 84;

/// Rates a sentence as a quotation: 0 if it cannot be one, 1 if nothing speaks against it.
pub(crate) fn quotability(sentence: &str) -> f64 {
    let n_words = sentence.split_whitespace().count();
    if sentence.contains(GAP) || !WORDS.contains(&n_words) || !is_whole(sentence) || !is_prose(sentence) {
        return 0.0;
    }
    let lower = sentence.to_lowercase();
    if is_dangling(&lower) || ends_a_line_in_a_hyphen(sentence) || has_reference_number(sentence) {
        return 0.0;
    }
    let mut rating = 1.0;
    if ABOUT_THE_DOCUMENT.iter().any(|phrase| lower.contains(phrase)) {
        rating *= 0.35;
    }
    if runs_together(sentence) {
        rating *= 0.2;
    }
    if points_elsewhere(sentence, &lower) {
        rating *= 0.5;
    }
    // Names and numbers of other documents mean nothing to whom has not read them.
    if sentence.contains('[') || lower.contains("http") {
        rating *= 0.6;
    }
    if sentence.contains('(') {
        rating *= 0.9;
    }
    if lower.contains(" we ") || lower.contains(" i ") || lower.contains(" our ") {
        rating *= 0.6;
    }
    if sentence.contains(['@', '=']) {
        rating *= 0.3;
    }
    if has_label(sentence) {
        rating *= 0.5;
    }
    if n_words > 36 {
        rating *= 0.8;
    }
    rating
}

/// Whether the sentence leans on another place: "these algorithms", "Section 3", "RFC 1122".
fn points_elsewhere(sentence: &str, lower: &str) -> bool {
    [
        " this ",
        " these ",
        " those ",
        " such a ",
        " above",
        " below",
        " former ",
        " latter ",
        " therefore",
        " however",
    ]
    .iter()
    .any(|word| lower.contains(word))
        || ["Section ", "Sections ", "RFC ", "Chapter ", "Table ", "Figure ", "Appendix "].iter().any(
            |name| {
                sentence
                    .split(name)
                    .skip(1)
                    .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c.is_uppercase()))
            },
        )
}

/// From a capital to a full stop, with every bracket and quotation mark closed.
fn is_whole(sentence: &str) -> bool {
    let begins = sentence.starts_with(|c: char| c.is_uppercase() || matches!(c, '`' | '"' | '“'));
    let ends = sentence.trim_end_matches(['"', '”', ')', '\'', '’']).ends_with(['.', '!'])
        && !["...", "e.g.", "i.e."].iter().any(|end| sentence.ends_with(end));
    let count = |sign: char| sentence.matches(sign).count();
    begins
        && ends
        && count('(') == count(')')
        && count('[') == count(']')
        && count('{') == count('}')
        && count('"').is_multiple_of(2)
        && count('`').is_multiple_of(2)
        && count('“') == count('”')
}

fn is_prose(sentence: &str) -> bool {
    let visible = sentence.chars().filter(|c| !c.is_whitespace() && *c != '`').count();
    let letters = sentence.chars().filter(|c| c.is_alphabetic()).count();
    let capitals = sentence
        .split_whitespace()
        .filter(|word| word.chars().filter(|c| c.is_uppercase()).count() > 1)
        .count();
    letters * 100 >= visible * LETTERS
        && capitals * 3 <= sentence.split_whitespace().count()
        && !["----", "====", "::=", "...", "+-", "|", " -> ", "©", "•"]
            .iter()
            .any(|sign| sentence.contains(sign))
}

fn is_dangling(lower: &str) -> bool {
    DANGLING.iter().any(|opener| {
        lower.strip_prefix(opener).is_some_and(|rest| {
            opener.ends_with(' ') || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-')
        })
    })
}

/// "IMPLEMENTATION: Servers ..." and "Tutorial: Lattices ...".
fn has_label(sentence: &str) -> bool {
    sentence.split_whitespace().take(2).any(|word| word.len() > 1 && word.ends_with(':'))
}

/// "It is on. off turns it off." holds two sentences, the second one of which begins with a name.
fn runs_together(sentence: &str) -> bool {
    let words: Vec<&str> = sentence.split_whitespace().collect();
    words.windows(2).any(|pair| {
        pair[0].len() > 2
            && pair[0].ends_with('.')
            && !pair[0].trim_end_matches('.').contains('.')
            && !["etc.", "vs.", "cf.", "al.", "approx.", "incl.", "resp."]
                .contains(&pair[0].trim_start_matches('('))
            && pair[1].starts_with(char::is_lowercase)
    })
}

/// "Cache- Control" was one word before its line ended.
fn ends_a_line_in_a_hyphen(sentence: &str) -> bool {
    sentence.split_whitespace().any(|word| word.len() > 1 && word.ends_with('-') && word != "--")
}

/// "[12]" would read as one of the article's own sources.
fn has_reference_number(sentence: &str) -> bool {
    sentence.split('[').skip(1).any(|rest| {
        rest.split_once(']').is_some_and(|(inner, _)| {
            !inner.is_empty() && inner.chars().all(|c| c.is_ascii_digit() || ", -".contains(c))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_stands_alone() {
        assert!(
            quotability("A cache stores cacheable responses in order to reduce the response time.") > 0.9
        );
        for not in [
            "This makes the cache store the responses of many origin servers.",
            "In particular, a cache stores the responses of many origin servers.",
            "First, a cache stores the responses of many origin servers in memory.",
            "a cache stores the responses of many origin servers in its memory.",
            "A cache stores the Cache- Control field of many origin servers in memory.",
            "A cache stores the responses (of many origin servers in its memory.",
            "A cache stores the responses of many origin servers [12] in memory.",
            "A cache stores\u{c} the responses of many origin servers in its memory.",
            "Too short a sentence.",
        ] {
            assert_eq!(quotability(not), 0.0, "{not}");
        }
        // An opener must be a word of its own.
        assert!(quotability("Orchestration keeps the steps of a long job in their right order.") > 0.9);
    }
}
