//! Finds the title of a plain text.

use super::{Block, shape};
use crate::corpus::apparatus::is_apparatus;
use crate::corpus::document::{DocumentBuilder, fold};

/// How far down the first page a title can stand.
const BLOCKS: usize = 8;

/// Gives the builder the title, if the text has one, and returns how many blocks come before the body.
pub(super) fn read(blocks: &[Block<'_>], builder: &mut DocumentBuilder) -> usize {
    let first_page = &blocks[..blocks.len().min(BLOCKS)];
    let memo = first_page.iter().position(is_memo_head);
    if let Some(head) = memo {
        for (at, block) in first_page.iter().enumerate().skip(head + 1) {
            if is_memo_head(block) {
                continue;
            }
            let centred = block.lines.iter().all(|line| shape::indent(line.text) >= 4);
            if centred
                || block.lines.len() <= 3
                    && !shape::heading(block, true).is_some_and(|(it, _)| is_apparatus(&it))
            {
                builder.title(&join(block));
                return at + 1;
            }
            break;
        }
        return head + 1;
    }
    // Elsewhere a short line at the top is the title; a paragraph is the body already.
    match blocks.first() {
        Some(block) if block.lines.len() <= 3 => {
            let first = block.lines.first().map_or(String::new(), |line| fold(line.text));
            let underlined = shape::heading(block, false).is_some_and(|(_, lines)| lines == 2);
            if (1..=100).contains(&first.chars().count())
                && (block.lines.len() == 1 || underlined)
                && !first.ends_with('.')
            {
                builder.title(&first);
                return 1;
            }
            0
        }
        _ => 0,
    }
}

/// `Network Working Group ... J. Postel` / `Request for Comments: 793 ... September 1981`
fn is_memo_head(block: &Block<'_>) -> bool {
    block.lines.iter().any(|line| {
        let line = line.text.to_lowercase();
        [
            "request for comments:",
            "request for comments ",
            "network working group",
            "internet engineering task force",
            "issn:",
            "obsoletes:",
            "category:",
            "bcp:",
            "std:",
            "internet architecture board",
            "independent submission",
        ]
        .iter()
        .any(|mark| line.contains(mark))
            || line.trim_start().starts_with("rfc:")
            || line.trim_start().starts_with("rfc ")
    })
}

/// The lines of a title without underlining and file names.
fn join(block: &Block<'_>) -> String {
    let lines = block.lines.iter().map(|line| line.text).filter(|line| {
        let line = line.trim();
        line.contains(char::is_alphabetic) && !line.starts_with('<')
    });
    fold(&lines.collect::<Vec<_>>().join(" "))
}
