//! Reads Markdown: prose as the file has it, code spans included; code blocks, tables and front matter left out.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::corpus::document::{Document, DocumentBuilder};

pub(crate) fn read(source: &str, file_name: &str) -> Document {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let mut reader = Reader::new(source);
    for (event, range) in Parser::new_ext(source, options).into_offset_iter() {
        reader.event(event, range);
    }
    reader.builder.finish(file_name)
}

struct Reader<'a> {
    source: &'a str,
    line_starts: Vec<usize>,
    builder: DocumentBuilder,
    /// The text of the heading being read.
    heading: Option<String>,
    /// Where the last text of this block ended in the source.
    last_end: Option<usize>,
    /// How many elements without prose are open.
    skipping: usize,
}

impl<'a> Reader<'a> {
    fn new(source: &'a str) -> Self {
        let line_starts =
            std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self {
            source,
            line_starts,
            builder: DocumentBuilder::default(),
            heading: None,
            last_end: None,
            skipping: 0,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "inline elements neither start nor end a block")]
    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => match tag {
                Tag::CodeBlock(_)
                | Tag::Table(_)
                | Tag::HtmlBlock
                | Tag::MetadataBlock(_)
                | Tag::FootnoteDefinition(_) => {
                    self.end_block();
                    self.skipping += 1;
                }
                Tag::Image { .. } => self.skipping += 1,
                Tag::Heading { .. } => {
                    self.end_block();
                    self.heading = Some(String::new());
                }
                Tag::Paragraph | Tag::Item | Tag::List(_) | Tag::BlockQuote(_) => self.end_block(),
                _ => {}
            },
            Event::End(tag) => match tag {
                TagEnd::CodeBlock
                | TagEnd::Table
                | TagEnd::HtmlBlock
                | TagEnd::MetadataBlock(_)
                | TagEnd::FootnoteDefinition
                | TagEnd::Image => self.skipping = self.skipping.saturating_sub(1),
                TagEnd::Heading(level) => self.end_heading(level),
                TagEnd::Paragraph | TagEnd::Item | TagEnd::List(_) | TagEnd::BlockQuote(_) => {
                    self.end_block()
                }
                _ => {}
            },
            Event::Text(text) | Event::Code(text) => self.text(&text, range),
            // The next text follows after white space, which it finds by itself.
            Event::SoftBreak => {
                if let Some(heading) = &mut self.heading {
                    heading.push(' ');
                }
            }
            Event::Rule => self.end_block(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str, range: Range<usize>) {
        if self.skipping > 0 {
            return;
        }
        if let Some(heading) = &mut self.heading {
            heading.push_str(text);
            return;
        }
        let raw = self.source.get(range.clone()).unwrap_or_default();
        // Code spans keep their backticks; an entity is not in the file as it reads.
        let verbatim = raw == text || raw.starts_with('`');
        match self.last_end.and_then(|end| self.source.get(end..range.start)) {
            Some(between) if between.trim().is_empty() => self.builder.push(between, self.line(range.start)),
            Some(_) => {
                self.builder.gap();
                if raw.starts_with(char::is_whitespace) {
                    self.builder.push(" ", self.line(range.start));
                }
            }
            None => {}
        }
        if !verbatim {
            self.builder.gap();
        }
        self.builder.push(if verbatim { raw } else { text }, self.line(range.start));
        if !verbatim {
            self.builder.gap();
        }
        self.last_end = Some(range.end);
    }

    fn end_block(&mut self) {
        if self.skipping == 0 {
            self.builder.end_block();
            self.last_end = None;
        }
    }

    fn end_heading(&mut self, level: HeadingLevel) {
        let heading = self.heading.take().unwrap_or_default();
        if level == HeadingLevel::H1 && !self.builder.has_title() {
            self.builder.title(&heading);
            self.builder.heading("");
        } else {
            self.builder.heading(&heading);
        }
    }

    fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.line_starts.partition_point(|&start| start <= offset)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_blocks_hold_no_headings_and_no_prose() {
        let source = "---\ntitle: x\n---\n# The *title*\n\nFirst line of prose here\ngoes on.\n\n```sh\n# not a heading\n```\n\n## Second `part`\n\n> quoted words run\n> over two lines.\n\n- an item with `code` in it\n- another **bold** item here\n";
        let document = read(source, "file.md");
        assert_eq!(document.title, "The title");
        let passages: Vec<_> =
            document.passages.iter().map(|it| (it.heading.as_str(), it.text.as_str(), it.lines)).collect();
        assert_eq!(
            passages,
            [
                ("", "First line of prose here goes on.", [6, 7]),
                (
                    "Second part",
                    "quoted words run\u{c}over two lines.\nan item with `code` in it\nanother\u{c} bold\u{c} item here",
                    [15, 19]
                ),
            ]
        );
    }
}
