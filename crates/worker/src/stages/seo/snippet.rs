//! What a search engine shows of a page: its title, its address and a description.

use quillwork_text::citations::{Kind, blocks};

use crate::stages::assessment::{Check, Finding, Threshold};

const TITLE_CHARS: (usize, usize) = (30, 60);
const DESCRIPTION_CHARS: (usize, usize) = (70, 160);
const SLUG_CHARS: usize = 60;

pub(super) fn checks(title: &str, description: &str) -> Vec<Check> {
    let length = |name, text: &str, (least, most): (usize, usize)| {
        let n_chars = text.chars().count();
        let check = Check::new(name, 2.0, n_chars as f64, Threshold::between(least as f64, most as f64));
        let problem = if n_chars < least { "too short" } else { "would be cut off" };
        let findings = if check.passed { Vec::new() } else { vec![Finding::at(problem, text)] };
        check.with(findings)
    };
    vec![
        length("title_chars", title, TITLE_CHARS),
        length("description_chars", description, DESCRIPTION_CHARS),
    ]
}

/// The beginning of the first paragraph: whole sentences if they come to enough, and else as many words as fit.
pub(super) fn description(markdown: &str) -> String {
    let (least, most) = DESCRIPTION_CHARS;
    let blocks = blocks(markdown);
    let first = blocks.iter().find(|block| block.kind == Kind::Paragraph);
    let first = first.or_else(|| blocks.iter().find(|block| block.kind == Kind::Item));
    let mut description = String::new();
    for sentence in first.iter().flat_map(|block| &block.sentences) {
        let longer = if description.is_empty() {
            sentence.text.clone()
        } else {
            format!("{description} {}", sentence.text)
        };
        if longer.chars().count() <= most {
            description = longer;
        } else if description.chars().count() < least {
            return cut(&longer, most);
        } else {
            break;
        }
    }
    description
}

/// The words that fit, and an ellipsis.
fn cut(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most - 1).map_or(text.len(), |(end, _)| end);
    // A word that ends just here is whole.
    let start = &text[..end];
    let whole = text[end..].starts_with(char::is_whitespace);
    let words =
        if whole { start } else { start.rfind(char::is_whitespace).map_or(start, |space| &start[..space]) };
    format!("{}…", words.trim_end_matches(|c: char| c.is_whitespace() || ",;:–—-(".contains(c)))
}

/// The title as a part of an address: its words in lower case, as many as fit, with hyphens between them.
pub(super) fn slug(title: &str) -> String {
    let lower = title.to_lowercase().replace(['\'', '’'], "");
    let mut slug = String::new();
    for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let hyphen = usize::from(!slug.is_empty());
        let left = SLUG_CHARS.saturating_sub(slug.chars().count() + hyphen);
        if word.chars().count() > left && hyphen > 0 {
            break;
        }
        if hyphen > 0 {
            slug.push('-');
        }
        slug.extend(word.chars().take(left));
    }
    if slug.is_empty() { "article".to_owned() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_the_beginning_of_the_first_paragraph() {
        let sentence = "A lease is a promise that ends by itself.";
        let long = "word ".repeat(60);
        for (markdown, expected) in [
            (
                format!(
                    "# T\n\n> A notice that nobody wants to read here.\n\n{sentence} [1]\n\n{sentence}\n"
                ),
                sentence.to_owned(),
            ),
            (
                format!("{sentence} [1] {sentence} {sentence} {sentence}"),
                format!("{sentence} {sentence} {sentence}"),
            ),
            (long.clone(), format!("{}…", "word ".repeat(32).trim_end())),
            (format!("{sentence} {long}"), format!("{sentence} {}…", "word ".repeat(23).trim_end())),
            (format!("- {sentence}\n- two"), sentence.to_owned()),
            ("# Only a heading".to_owned(), String::new()),
            ("ä".repeat(200), format!("{}…", "ä".repeat(159))),
        ] {
            let found = description(&markdown);
            assert_eq!(found, expected, "{markdown}");
            assert!(found.chars().count() <= 160);
        }
    }

    #[test]
    fn a_slug_is_made_of_the_words_of_the_title() {
        for (title, expected) in [
            ("How do durable jobs survive a crash?", "how-do-durable-jobs-survive-a-crash"),
            ("Über C++ & Rust's `unsafe`", "über-c-rusts-unsafe"),
            ("???", "article"),
            (&"word ".repeat(20), "word-word-word-word-word-word-word-word-word-word-word-word"),
            (&"x".repeat(80), &"x".repeat(60)),
        ] {
            assert_eq!(slug(title), expected, "{title}");
        }
    }
}
