//! What needs no source to be judged: length, readability, a whole ending, and no chatter.

use quillwork_text::citations::{Block, Kind};

use crate::stages::assessment::{Check, Finding, Threshold};
use crate::stages::quality::Settings;
use crate::stages::quality::draft::Draft;

/// How models speak about themselves or to whom they serve, in lower case.
#[rustfmt::skip]
const CHATTER: &[&str] = &[
    "as a language model", "as a large language model", "as an ai", "as an artificial intelligence",
    "as of my last update", "as requested, here", "certainly! here", "here is the article", "here is your article",
    "here's the article", "here's your article", "hope this helps", "i am sorry, but", "i am unable to",
    "i cannot fulfill", "i cannot provide", "i don't have access to", "i'm sorry, but", "i'm unable to",
    "[insert", "let me know if you", "lorem ipsum", "my knowledge cutoff", "my training data", "sure, here",
    "sure! here",
];

pub(super) fn checks(draft: &Draft<'_>, settings: &Settings) -> [Check; 4] {
    [length(draft, settings), readability(draft, settings), ending(draft), chatter(draft)]
}

fn length(draft: &Draft<'_>, settings: &Settings) -> Check {
    let (least, most) = (settings.min_words as f64, settings.max_words as f64);
    Check::new("words", 1.0, draft.n_words() as f64, Threshold::between(least, most))
}

/// The automated readability index: the school year that English prose of such words and sentences is for.
///
/// It counts letters instead of guessing at syllables.
fn readability(draft: &Draft<'_>, settings: &Settings) -> Check {
    let (mut n_letters, mut n_words, mut n_sentences) = (0usize, 0usize, 0usize);
    let mut findings = Vec::new();
    for sentence in draft.sentences() {
        let words: Vec<usize> = sentence
            .text
            .split_whitespace()
            .map(|word| word.chars().filter(|c| c.is_alphanumeric()).count())
            .filter(|&letters| letters > 0)
            .collect();
        n_sentences += usize::from(!words.is_empty());
        n_words += words.len();
        n_letters += words.iter().sum::<usize>();
        if words.len() > settings.long_sentence {
            let problem = format!("{} words in one sentence", words.len());
            findings.push(Finding::citing(problem, &sentence.text, &sentence.cites));
        }
    }
    let per = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let grade = (4.71 * per(n_letters, n_words) + 0.5 * per(n_words, n_sentences) - 21.43).max(0.0);
    Check::new("readability_grade", 1.0, grade, Threshold::max(settings.max_grade)).with(findings)
}

/// 1 for an article that ends, and 0 for one that was cut off.
fn ending(draft: &Draft<'_>) -> Check {
    let mut findings = Vec::new();
    let prose: Vec<&Block> = draft.prose().collect();
    match prose.as_slice() {
        [] => findings.push(Finding::new("the article has no prose")),
        [before @ .., last] => {
            // Lists of phrases have no full stops, and so their last one has none.
            let listed = last.kind == Kind::Item
                && before.last().is_some_and(|block| block.kind == Kind::Item && !is_ended(block));
            if !is_ended(last) && !listed {
                let text = last.sentences.last().map_or("", |sentence| &sentence.text);
                findings.push(Finding::at("the last sentence does not end", text));
            }
        }
    }
    if matches!(draft.blocks.last().map(|block| block.kind), Some(Kind::Heading(_))) {
        findings.push(Finding::new("the last section is empty"));
    }
    if !draft.has_sources {
        findings.push(Finding::new("there is no section \"Sources\", or it stands inside of code"));
    }
    let value = if findings.is_empty() { 1.0 } else { 0.0 };
    Check::new("complete", 2.0, value, Threshold::min(1.0)).required().with(findings)
}

fn is_ended(block: &Block) -> bool {
    let text = block.sentences.last().map_or("", |sentence| sentence.text.as_str());
    let text = text.trim_end_matches([')', ']', '"', '\'', '”', '’', '»', '*', '_']);
    text.ends_with(['.', '!', '?', '…', '。', '！', '？'])
}

/// How many sentences are the writer's and not the article's.
fn chatter(draft: &Draft<'_>) -> Check {
    let mut findings = Vec::new();
    for sentence in draft.sentences() {
        let text = sentence.text.to_lowercase().replace('’', "'");
        if CHATTER.iter().any(|phrase| text.contains(phrase)) {
            findings.push(Finding::at("the writer speaks about itself", &sentence.text));
        }
    }
    Check::new("chatter", 2.0, findings.len() as f64, Threshold::max(0.0)).with(findings)
}
