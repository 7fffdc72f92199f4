//! Whether an answer of a model can be used as an article, and what is wrong with it if not.

use std::collections::BTreeSet;

use quillwork_app::ports::model::{Completion, Finish};
use quillwork_text::citations::{Block, Kind, blocks, markers};

/// Paragraphs of fewer words lead over to others and need no source.
const SHORT_PARAGRAPH: usize = 12;

/// Problems that one list names at most of a kind.
const LISTED: usize = 5;

/// The answer without what models put around it: their thinking, a fence around everything, a list of sources.
pub(super) fn clean(answer: &str) -> String {
    let mut text = answer.trim();
    if let Some((_, after)) = text.strip_prefix("<think>").and_then(|rest| rest.split_once("</think>")) {
        text = after.trim_start();
    }
    for fence in ["```markdown\n", "```md\n", "```\n"] {
        if let Some(inner) = text.strip_prefix(fence).and_then(|rest| rest.strip_suffix("```")) {
            text = inner.trim();
        }
    }
    let is_list = |line: &str| {
        let heading = line.trim_start_matches('#').trim().trim_end_matches(':').to_lowercase();
        line.starts_with("##")
            && matches!(heading.as_str(), "sources" | "references" | "citations" | "bibliography")
    };
    let mut lines: Vec<&str> = text.lines().collect();
    // Only if nothing follows it: a section in the middle is part of the article.
    if let Some(at) = lines.iter().rposition(|line| line.starts_with('#'))
        && is_list(lines[at])
    {
        lines.truncate(at);
    }
    lines.join("\n").trim().to_owned()
}

/// What keeps `article`, the cleaned text of `completion`, from being used; each for the model to read. `sources` are
/// the numbers that it may cite.
pub(super) fn problems(completion: &Completion, article: &str, sources: &[u32]) -> Vec<String> {
    let mut problems = Vec::new();
    match completion.finish {
        Finish::Stop => {}
        Finish::Length => problems.push("It was cut off before its end: write a shorter article.".to_owned()),
        Finish::Filtered => problems.push("The provider withheld a part of it.".to_owned()),
    }
    if article.is_empty() {
        problems.push("There is no text.".to_owned());
        return problems;
    }
    let blocks = blocks(article);
    if !blocks.iter().any(|block| block.kind == Kind::Heading(1)) {
        problems.push("It has no heading of the first level (`# `).".to_owned());
    }
    let cited: BTreeSet<u32> = markers(article).into_iter().flat_map(|marker| marker.numbers).collect();
    let unknown: Vec<String> =
        cited.iter().filter(|n| !sources.contains(n)).take(LISTED).map(|n| format!("[{n}]")).collect();
    if !unknown.is_empty() {
        let known: Vec<String> = sources.iter().map(|n| format!("[{n}]")).collect();
        problems.push(format!("It cites {}; the sources are {}.", unknown.join(", "), known.join(", ")));
    }
    let uncited: Vec<&Block> = blocks.iter().filter(|block| needs_source(block)).collect();
    if cited.is_empty() {
        problems.push("It cites no source.".to_owned());
    } else if !uncited.is_empty() {
        let begin = |block: &&Block| format!("“{}”", shorten(&block.sentences[0].text));
        let places: Vec<String> = uncited.iter().take(LISTED).map(begin).collect();
        problems.push(format!("{} paragraphs cite no source: {}.", uncited.len(), places.join(", ")));
    }
    problems
}

fn needs_source(block: &Block) -> bool {
    let is_prose = match block.kind {
        Kind::Paragraph | Kind::Item | Kind::Quote => true,
        Kind::Heading(_) | Kind::Cell => false,
    };
    let n_words: usize =
        block.sentences.iter().map(|sentence| sentence.text.split_whitespace().count()).sum();
    is_prose && n_words >= SHORT_PARAGRAPH && block.sentences.iter().all(|sentence| sentence.cites.is_empty())
}

fn shorten(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() <= 8 { words.join(" ") } else { format!("{} …", words[..8].join(" ")) }
}

#[cfg(test)]
mod tests {
    use quillwork_app::ports::model::TokenUsage;

    use super::*;

    fn completion(finish: Finish) -> Completion {
        Completion {
            text: String::new(),
            finish,
            provider: "p".into(),
            model: "m".into(),
            usage: TokenUsage::default(),
            request_id: None,
            cost_micros: 0,
            prices: None,
            from_cache: false,
            choice: String::new(),
        }
    }

    #[track_caller]
    fn check(finish: Finish, article: &str, expected: &[&str]) {
        assert_eq!(problems(&completion(finish), article, &[1, 2]), expected, "{article}");
    }

    #[test]
    fn every_fault_is_named() {
        check(Finish::Stop, "# T\n\nIt is so. [1]\n\n- And so, too. [1, 2]", &[]);
        check(
            Finish::Length,
            "# T\n\nIt is so. [1]",
            &["It was cut off before its end: write a shorter article."],
        );
        check(Finish::Stop, "", &["There is no text."]);
        check(Finish::Stop, "It is so. [1]", &["It has no heading of the first level (`# `)."]);
        check(
            Finish::Stop,
            "# T\n\nSo. [1] So. [7] So. [3]",
            &["It cites [3], [7]; the sources are [1], [2]."],
        );
        check(Finish::Stop, "# T\n\nShort.", &["It cites no source."]);
        check(
            Finish::Stop,
            "# T\n\nSo. [1]\n\nThis paragraph has quite a few more than twelve words in it, and no source.",
            &["1 paragraphs cite no source: “This paragraph has quite a few more than …”."],
        );
    }

    #[test]
    fn what_models_put_around_is_taken_off() {
        let cases = [
            ("<think>hm</think>\n# T\n\nA. [1]", "# T\n\nA. [1]"),
            ("```markdown\n# T\n\nA. [1]\n```", "# T\n\nA. [1]"),
            ("# T\n\nA. [1]\n\n## Sources:\n\n1. x", "# T\n\nA. [1]"),
            (
                "# T\n\n## References\n\nA. [1]\n\n## More\n\nB. [1]",
                "# T\n\n## References\n\nA. [1]\n\n## More\n\nB. [1]",
            ),
        ];
        for (answer, expected) in cases {
            assert_eq!(clean(answer), expected);
        }
    }
}
