//! Which sentences say what something is.

use crate::extractive::phrases::{CLAUSE, CONDITIONS, DEFINING};

/// What the sentence defines, if it is of the form "a cache is a store".
pub(crate) fn defined_subject(sentence: &str) -> Option<&str> {
    if is_conditional(sentence) {
        return None;
    }
    let words: Vec<(usize, &str)> =
        sentence.split_whitespace().map(|word| (offset_in(sentence, word), word)).take(14).collect();
    let defining = |pair: &[(usize, &str)]| match (pair[0].1, pair[1].1) {
        (
            "is" | "are",
            "a" | "an" | "the" | "one" | "used" | "called" | "defined" | "known" | "responsible",
        )
        | ("refers", "to") => true,
        (verb, _) => DEFINING.contains(&verb),
    };
    let at = words.windows(2).skip(1).position(defining)?;
    words.get(at + 1).map(|&(offset, _)| sentence[..offset].trim_end())
}

/// Whether the sentence is about a case first, and about its subject later.
pub(crate) fn is_conditional(sentence: &str) -> bool {
    CONDITIONS.iter().any(|word| sentence.starts_with(word))
}

/// Whether the sentence is a whole clause for certain.
pub(crate) fn has_verb(sentence: &str) -> bool {
    sentence.split_whitespace().any(|word| CLAUSE.contains(&word.to_lowercase().as_str()))
        || defined_subject(sentence).is_some()
}

/// Where a part of a text begins in it.
fn offset_in(text: &str, part: &str) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_name_their_subject() {
        assert_eq!(
            defined_subject("A freshness lifetime is the length of time between."),
            Some("A freshness lifetime")
        );
        assert_eq!(
            defined_subject("Write-ahead logging ensures that no change is lost."),
            Some("Write-ahead logging")
        );
        assert_eq!(defined_subject("If the cache is a proxy, requests are forwarded."), None);
        assert_eq!(defined_subject("Caches must forward the request to the origin."), None);
    }
}
