//! Tells headings, prose, lists, tables and drawings apart by their shape.

use super::Block;
use crate::corpus::document::fold;

/// Longer lines are sentences.
const LONGEST_HEADING: usize = 90;

/// Longer beginnings of a line are text.
const LONGEST_LABEL: usize = 24;

/// Whether the body stands indented below headings in the first column, as in RFCs.
pub(super) fn is_indented(blocks: &[Block<'_>]) -> bool {
    let long = || blocks.iter().filter(|block| block.lines.len() >= 3);
    let indented = long().filter(|block| block.lines.iter().all(|line| indent(line.text) >= 2)).count();
    indented > 0 && indented * 2 > long().count()
}

/// The heading that a block starts with, and how many lines it takes.
pub(super) fn heading(block: &Block<'_>, indented: bool) -> Option<(String, usize)> {
    let (first, rest) = block.lines.split_first()?;
    let text = first.text.trim_end();
    let trimmed = text.trim_start();
    if trimmed.chars().count() > LONGEST_HEADING
        || is_contents_line(text)
        || !trimmed.contains(char::is_alphabetic)
    {
        return None;
    }
    if let Some(below) = rest.first()
        && is_underline(below.text)
    {
        return Some((fold(text), 2));
    }
    let ends_as_sentence = trimmed.ends_with(['.', ',', ';']) && !trimmed.ends_with("...");
    if indent(text) > usize::from(!indented) * 3 || ends_as_sentence {
        return None;
    }
    if let Some(name) = numbered(trimmed) {
        // A numbered heading may take two lines; a numbered list item goes on as a paragraph.
        let second = rest.first().map(|line| line.text);
        let continued = second
            .is_some_and(|line| rest.len() == 1 && indent(line) > indent(text) + 2 && line.trim().len() < 50);
        return match (second, continued) {
            (None, _) => Some((fold(text), 1)),
            (Some(line), true) => Some((format!("{} {}", fold(text), fold(line)), 2)),
            (Some(line), false) if indented && indent(line) > 0 && name.starts_with(char::is_uppercase) => {
                Some((fold(text), 1))
            }
            (Some(_), false) => None,
        };
    }
    let few_words = (1..=9).contains(&trimmed.split_whitespace().count());
    let capital = trimmed.starts_with(|c: char| c.is_uppercase());
    let shouting =
        !trimmed.contains(char::is_lowercase) && trimmed.chars().filter(|c| c.is_alphabetic()).count() >= 4;
    let alone = rest.is_empty() || rest.first().is_some_and(|line| indented && indent(line.text) > 0);
    let columns = trimmed.contains("   ");
    (alone
        && few_words
        && capital
        && !columns
        && (indented && indent(text) == 0 || shouting)
        && !trimmed.ends_with(':'))
    .then(|| (fold(text), 1))
}

/// What follows a section number: `3.1.  Slow Start`, `Appendix A.  Examples`, `A.2. More`.
fn numbered(line: &str) -> Option<&str> {
    let line = line.strip_prefix("Appendix ").or_else(|| line.strip_prefix("APPENDIX ")).unwrap_or(line);
    let (number, name) = line.split_once(char::is_whitespace)?;
    let name = name.trim_start().trim_start_matches("- ");
    let mut parts = number.trim_end_matches(['.', ':']).split('.');
    let first = parts.next()?;
    let letter = first.len() == 1 && first.chars().all(|c| c.is_ascii_uppercase()) && number.len() > 1;
    let digits = |part: &str| (1..=3).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit());
    ((letter || digits(first))
        && parts.all(digits)
        && name.starts_with(char::is_alphabetic)
        && name.chars().filter(|c| c.is_alphabetic()).count() >= 3)
        .then_some(name)
}

/// Whether the block is running text.
pub(super) fn is_prose(block: &Block<'_>) -> bool {
    let n_lines = block.lines.len();
    let drawn = block.lines.iter().filter(|line| is_drawn(line.text)).count();
    if n_lines == 0 || drawn * 4 >= n_lines || block.lines.iter().any(|line| is_contents_line(line.text)) {
        return false;
    }
    let visible = || block.lines.iter().flat_map(|line| line.text.chars()).filter(|c| !c.is_whitespace());
    let letters = visible().filter(|c| c.is_alphabetic()).count();
    // Prose: four letters in five characters, in words.
    letters * 5 >= visible().count() * 4 && letters >= 8
}

/// Whether a line opens a list item.
pub(super) fn starts_item(line: &str) -> bool {
    let trimmed = line.trim_start();
    let Some((mark, rest)) = trimmed.split_once(char::is_whitespace) else { return false };
    if rest.trim().is_empty() {
        return false;
    }
    let inner = mark.trim_start_matches('(').trim_end_matches([')', '.']);
    let enumerated = inner.len() < mark.len()
        && (1..=3).contains(&inner.len())
        && (inner.chars().all(|c| c.is_ascii_digit())
            || inner.len() == 1 && inner.chars().all(char::is_alphanumeric));
    matches!(mark, "-" | "*" | "o" | "+" | "•" | "--") || enumerated
}

/// What hangs before a paragraph, and the paragraph: `STALE  The state in which ...`, `o  An item`.
pub(super) fn label(line: &str) -> Option<(&str, &str)> {
    let (label, rest) = line.trim_start().split_once("  ")?;
    // Typists of old put two blanks behind a full stop.
    let sentence = label.len() > 4 && label.ends_with(['.', ':', ';', ',', '!', '?']);
    (label.len() <= LONGEST_LABEL && !sentence).then_some((label, rest))
}

/// Tables, drawings, code: columns, frames, or signs instead of letters.
fn is_drawn(line: &str) -> bool {
    let trimmed = line.trim();
    // Justified text has double blanks, columns have wide ones.
    let columns = trimmed.match_indices("   ").count() >= 1 && !starts_item(trimmed);
    let framed = ["+-", "-+", "--|", "|--", "->", "<-", "==", "__", "{", "}", "::="]
        .iter()
        .any(|sign| trimmed.contains(sign))
        || trimmed.starts_with('|')
        || trimmed.ends_with('|')
        || trimmed.ends_with(';') && trimmed.contains('(');
    columns || framed
}

/// `3.1. Slow Start and Congestion Avoidance . . . . . . 4`
fn is_contents_line(line: &str) -> bool {
    line.contains(". . .") || line.contains("....")
}

fn is_underline(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 3
        && line
            .chars()
            .next()
            .is_some_and(|first| "=-~^*#".contains(first) && line.chars().all(|c| c == first))
}

/// A tab counts as eight columns.
pub(super) fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).map(|c| if c == '\t' { 8 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_hang_before_their_paragraph() {
        assert_eq!(label("   o  An item of a list"), Some(("o", "An item of a list")));
        assert_eq!(label("   STALE  The state in which"), Some(("STALE", "The state in which")));
        assert_eq!(label("   It ends.  Then it goes on"), None);
        assert_eq!(label("   No label at all"), None);
    }
}
