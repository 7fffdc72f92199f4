//! How the index takes texts apart: as [`words`] does, in tantivy's terms.

use quillwork_text::words;
use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
};

/// What passages are indexed with. A topic, whose terms [`words`] tells, is found exactly where a sentence has them.
pub(crate) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(words::LONGEST_WORD))
        .filter(LowerCaser)
        .filter(StopWordFilter::remove(words::stop_words().iter().map(|word| (*word).to_owned())))
        .filter(Stemmer::new(Language::English))
        .build()
}

#[cfg(test)]
mod tests {
    use include_dir::{Dir, DirEntry, include_dir};

    use super::*;

    static DOCS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../docs");

    fn texts(dir: &Dir<'static>) -> Vec<&'static str> {
        dir.entries()
            .iter()
            .flat_map(|entry| match entry {
                DirEntry::Dir(dir) => texts(dir),
                DirEntry::File(file) => file.contents_utf8().into_iter().collect(),
            })
            .collect()
    }

    #[test]
    fn the_index_has_the_terms_that_words_tells() {
        let odd = format!(
            "STRASSE Straße ΟΔΟΣ İstanbul ﬁne e\u{301}t\u{e9} 10⁶ ½ {} don't",
            "x".repeat(words::LONGEST_WORD)
        );
        let docs = texts(&DOCS);
        assert!(docs.len() > 5);
        let mut analyzer = analyzer();
        for text in docs.into_iter().chain([odd.as_str()]) {
            let mut indexed = Vec::new();
            analyzer.token_stream(text).process(&mut |token| indexed.push(token.text.clone()));
            assert_eq!(words::terms(text), indexed);
        }
    }
}
