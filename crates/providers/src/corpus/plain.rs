//! Reads plain text: paragraphs between blank lines, in the layout of RFCs where a file has it.

use crate::corpus::document::{Document, DocumentBuilder};
use crate::corpus::plain::page::{Line, body_lines};

mod page;
mod shape;
mod title;

pub(crate) fn read(source: &str, file_name: &str) -> Document {
    let lines = body_lines(source);
    let blocks = blocks(&lines);
    let mut builder = DocumentBuilder::default();
    let first = title::read(&blocks, &mut builder);
    let indented = shape::is_indented(&blocks);
    let mut rest = blocks.iter().skip(first).peekable();
    while let Some(block) = rest.next() {
        let mut body = *block;
        if let Some((heading, n_lines)) = shape::heading(block, indented) {
            builder.heading(&heading);
            // Some texts start the section directly below its heading.
            body.lines = block.lines.get(n_lines..).unwrap_or_default();
        }
        if shape::is_prose(&body) {
            add(&mut builder, &body, rest.peek().copied());
        }
    }
    builder.finish(file_name)
}

/// Consecutive lines without a blank one between them.
#[derive(Clone, Copy, Debug)]
struct Block<'a> {
    lines: &'a [Line<'a>],
}

fn blocks<'a>(lines: &'a [Line<'a>]) -> Vec<Block<'a>> {
    lines
        .split(|line| line.text.trim().is_empty())
        .filter(|lines| !lines.is_empty())
        .map(|lines| Block { lines })
        .collect()
}

/// Adds a block, item by item, and leaves it open if it runs on over the end of its page.
fn add(builder: &mut DocumentBuilder, block: &Block<'_>, next: Option<&Block<'_>>) {
    for (n, line) in block.lines.iter().enumerate() {
        let starts_item = shape::starts_item(line.text);
        if n > 0 && starts_item {
            builder.end_block();
        }
        let mut text = line.text;
        if (n == 0 || starts_item)
            && let Some((label, rest)) = shape::label(text)
        {
            // The mark of an item is layout; the term of a definition is a text of its own.
            if !starts_item {
                builder.push(label, line.number);
                builder.end_block();
            }
            text = rest;
        }
        builder.push(text, line.number);
        builder.push(" ", line.number);
    }
    let turns_page = next.and_then(|next| next.lines.first()).is_some_and(|line| line.after_page);
    let open = block.lines.last().is_some_and(|line| !line.text.trim_end().ends_with(['.', ':', '!', '?']));
    if turns_page
        && open
        && next.is_some_and(|next| shape::is_prose(next) && !shape::starts_item(next.lines[0].text))
    {
        builder.gap();
    } else {
        builder.end_block();
    }
}
