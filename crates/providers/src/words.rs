//! What counts as a word: the terms that the index stores and that sentences are compared by.

use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
};

/// Longer runs of letters are encoded data, not words.
const LONGEST_WORD: usize = 60;

/// Lowercases, drops English stop words, and stems.
///
/// The index and the writer share this, so a query term is found exactly where a sentence has it.
pub(crate) fn analyzer() -> TextAnalyzer {
    let stop_words = stop_words::lookup("en").unwrap_or_default();
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(LONGEST_WORD))
        .filter(LowerCaser)
        .filter(StopWordFilter::remove(stop_words.iter().map(|word| (*word).to_owned())))
        .filter(Stemmer::new(Language::English))
        .build()
}

/// The terms of a text, in order, with repetitions.
pub(crate) fn terms(analyzer: &mut TextAnalyzer, text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    analyzer.token_stream(text).process(&mut |token| terms.push(token.text.clone()));
    terms
}

/// Stems that ask for an explanation rather than name what it is about, as in "how retries work".
const ASKING: &[&str] = &["basic", "explain", "guid", "introduct", "overview", "understand", "use", "work"];

/// The terms of a topic: each once, sorted.
pub(crate) fn topic_terms(analyzer: &mut TextAnalyzer, topic: &str) -> Vec<String> {
    let mut terms = terms(analyzer, topic);
    if !terms.iter().all(|term| ASKING.contains(&term.as_str())) {
        terms.retain(|term| !ASKING.contains(&term.as_str()));
    }
    terms.sort();
    terms.dedup();
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_becomes_stems_without_stop_words() {
        let terms = topic_terms(&mut analyzer(), "How the HTTP caches are validated, and caching");
        assert_eq!(terms, ["cach", "http", "valid"]);
    }

    #[test]
    fn words_that_ask_are_dropped_beside_words_that_name() {
        assert_eq!(topic_terms(&mut analyzer(), "How do retries work?"), ["retri"]);
        assert_eq!(topic_terms(&mut analyzer(), "work"), ["work"]);
    }
}
