//! What counts as a word: the terms that passages are found by and that sentences are compared by.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use frostem::{Algorithm, Stemmer};

/// Longer runs of letters, in bytes, are encoded data, not words.
pub const LONGEST_WORD: usize = 60;

static STOP_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| stop_words().iter().copied().collect());

/// English words that say nothing about a subject, in lower case.
pub fn stop_words() -> &'static [&'static str] {
    stop_words::lookup("en").unwrap_or_default()
}

/// The terms of a text, in order, with repetitions: its words in lower case without stop words, as English stems.
pub fn terms(text: &str) -> Vec<String> {
    let stemmer = Stemmer::new(Algorithm::English);
    words(text).filter_map(|word| term(&stemmer, word)).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// False for a text in a script that sets no spaces between its words, as Chinese, Japanese and Thai do: its runs of
/// letters are whole clauses. A text with both is what most of its runs are.
pub fn has_spaces(text: &str) -> bool {
    let (mut n_runs, mut n_clauses) = (0usize, 0usize);
    for run in words(text) {
        n_runs += 1;
        n_clauses += usize::from(run.contains(is_unspaced));
    }
    n_clauses * 2 < n_runs.max(1)
}

/// A letter of Thai, Lao, Burmese, Khmer, Japanese or Chinese. Korean has spaces.
fn is_unspaced(c: char) -> bool {
    matches!(
        c,
        '\u{0e01}'..='\u{0eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3040}'..='\u{30ff}'
            | '\u{31f0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff66}'..='\u{ff9f}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

fn term(stemmer: &Stemmer, word: &str) -> Option<String> {
    if word.len() >= LONGEST_WORD {
        return None;
    }
    let lower = lowercase(word);
    (!STOP_WORDS.contains(lower.as_str())).then(|| stemmer.stem(&lower).into_owned())
}

/// Numbers terms, and takes the stem of each word only once: for texts of a million words.
#[derive(Debug, Default)]
pub struct Vocabulary {
    /// By word; none for a stop word.
    known: HashMap<String, Option<u32>>,
    terms: HashMap<String, u32>,
}

impl Vocabulary {
    /// The numbers of a text's [`terms`], in order, with repetitions.
    pub fn number(&mut self, text: &str) -> Vec<u32> {
        let stemmer = Stemmer::new(Algorithm::English);
        let mut numbers = Vec::new();
        for word in words(text) {
            let known = self.known.get(word).copied();
            let number = known.unwrap_or_else(|| {
                let next = u32::try_from(self.terms.len()).unwrap_or(u32::MAX);
                let number = term(&stemmer, word).map(|term| *self.terms.entry(term).or_insert(next));
                self.known.insert(word.to_owned(), number);
                number
            });
            numbers.extend(number);
        }
        numbers
    }
}

/// Letter by letter, as the index of the corpus does it: a sigma at the end of a word is a sigma.
fn lowercase(word: &str) -> String {
    if word.is_ascii() {
        word.to_ascii_lowercase()
    } else {
        word.chars().flat_map(char::to_lowercase).collect()
    }
}

/// Stems that ask for an explanation rather than name what it is about, as in "how retries work".
const ASKING: &[&str] = &["basic", "explain", "guid", "introduct", "overview", "understand", "use", "work"];

/// The terms of a topic: each once, sorted.
pub fn topic_terms(topic: &str) -> Vec<String> {
    let mut terms = terms(topic);
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
        let terms = topic_terms("How the HTTP caches are validated, and caching");
        assert_eq!(terms, ["cach", "http", "valid"]);
    }

    #[test]
    fn words_that_ask_are_dropped_beside_words_that_name() {
        assert_eq!(topic_terms("How do retries work?"), ["retri"]);
        assert_eq!(topic_terms("work"), ["work"]);
    }

    #[test]
    fn a_vocabulary_gives_equal_terms_equal_numbers() {
        let mut vocabulary = Vocabulary::default();
        assert_eq!(vocabulary.number("The lease, leases and tasks"), [0, 0, 1]);
        assert_eq!(vocabulary.number("Task of a LEASE without end"), [1, 0, 2, 3]);
        assert_eq!(terms("Task of a LEASE without end"), ["task", "leas", "without", "end"]);
    }

    #[test]
    fn some_scripts_set_no_spaces() {
        for (text, expected) in [
            ("", true),
            ("A cache stores responses.", true),
            ("The word 缓存 means cache.", true),
            ("Кэш хранит ответы; Ein Cache speichert.", true),
            ("캐시는 응답을 저장한다.", true),
            ("缓存存储响应，并用它们回答以后的请求。", false),
            ("キャッシュは応答を保存する。", false),
            ("แคชเก็บคำตอบไว้", false),
            ("HTTP缓存，在RFC 9111中定义。", false),
        ] {
            assert_eq!(has_spaces(text), expected, "{text}");
        }
    }

    #[test]
    fn terms_keep_their_order_and_their_repetitions() {
        assert_eq!(terms("Ünder STRASSE: lease_lost, leases!"), ["ünder", "strass", "leas", "lost", "leas"]);
        assert_eq!(terms(&"x".repeat(LONGEST_WORD)), Vec::<String>::new());
        assert_eq!(terms("the and of"), Vec::<String>::new());
    }
}
