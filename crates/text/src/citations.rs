//! Citations in articles: `[1]`, `[1, 2]` and `[1][2]`, and the sentences that they stand in.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::sentence::sentences;

/// A longer number is no source's: `[2024]` is a year.
const MOST_DIGITS: usize = 3;

/// A citation as it stands in the Markdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Never empty.
    pub numbers: Vec<u32>,
    /// In bytes of the Markdown, with the brackets.
    pub range: Range<usize>,
}

/// A run of text that the Markdown sets apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub kind: Kind,
    /// At least one.
    pub sentences: Vec<Sentence>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of level 1 to 6.
    Heading(u8),
    Paragraph,
    /// A paragraph in a list.
    Item,
    /// A paragraph in a block quotation.
    Quote,
    /// Of a table.
    Cell,
}

/// A sentence as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// Without markup and citations, white space folded.
    pub text: String,
    /// The numbers that it cites, each once, in the order of the text.
    pub cites: Vec<u32>,
}

/// All citations, in order. What stands in code, in a link, in an image or in a footnote is none.
pub fn markers(markdown: &str) -> Vec<Marker> {
    let read = Reader::read(markdown).into_iter();
    read.flat_map(|block| block.markers).map(|(_, marker)| marker).collect()
}

/// The text of an article, in order, without code, HTML and footnotes.
///
/// A citation belongs to the sentence that it stands in or behind.
pub fn blocks(markdown: &str) -> Vec<Block> {
    Reader::read(markdown).into_iter().filter_map(into_block).collect()
}

fn into_block(read: Read) -> Option<Block> {
    let ranges = sentences(&read.text);
    let mut found: Vec<Sentence> = ranges
        .iter()
        .map(|range| Sentence { text: read.text[range.clone()].to_owned(), cites: Vec::new() })
        .collect();
    for (at, marker) in read.markers {
        // Of a block without text there is no sentence to cite.
        let behind = ranges.partition_point(|range| range.start < at).saturating_sub(1);
        let sentence = found.get_mut(behind)?;
        for n in marker.numbers {
            if !sentence.cites.contains(&n) {
                sentence.cites.push(n);
            }
        }
    }
    (!found.is_empty()).then_some(Block { kind: read.kind, sentences: found })
}

/// A block, with its citations taken out.
struct Read {
    kind: Kind,
    text: String,
    /// Each with the end of the text before it.
    markers: Vec<(usize, Marker)>,
}

struct Reader<'a> {
    markdown: &'a str,
    read: Vec<Read>,
    heading: Option<u8>,
    /// How many of each are open.
    items: usize,
    quotes: usize,
    cells: usize,
    links: usize,
    hidden: usize,
    text: String,
    markers: Vec<(usize, Marker)>,
    /// Adjoining pieces of plain text: a citation may be spread over several.
    run: Vec<(String, Range<usize>)>,
}

impl<'a> Reader<'a> {
    fn read(markdown: &'a str) -> Vec<Read> {
        let mut reader = Self {
            markdown,
            read: Vec::new(),
            heading: None,
            items: 0,
            quotes: 0,
            cells: 0,
            links: 0,
            hidden: 0,
            text: String::new(),
            markers: Vec::new(),
            run: Vec::new(),
        };
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
        for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
            reader.event(event, range);
        }
        reader.end_block();
        reader.read
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what holds no text needs no care")]
    fn event(&mut self, event: Event, range: Range<usize>) {
        match event {
            Event::Text(_) | Event::Code(_) if self.hidden > 0 => {}
            Event::Text(text) if self.links == 0 => {
                if self.run.last().is_some_and(|(_, last)| last.end != range.start) {
                    self.end_run();
                }
                self.run.push((text.into_string(), range));
            }
            Event::Text(text) | Event::Code(text) => {
                self.end_run();
                self.push(&text);
            }
            Event::SoftBreak | Event::HardBreak => {
                self.end_run();
                self.push(" ");
            }
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            _ => self.end_run(),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others only set blocks apart")]
    fn start(&mut self, tag: &Tag) {
        self.end_run();
        match tag {
            Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Superscript | Tag::Subscript => {}
            Tag::Link { .. } => self.links += 1,
            Tag::Image { .. } => self.hidden += 1,
            _ => {
                self.end_block();
                match tag {
                    Tag::Heading { level, .. } => self.heading = Some(number(*level)),
                    Tag::Item => self.items += 1,
                    Tag::BlockQuote(_) => self.quotes += 1,
                    Tag::TableCell => self.cells += 1,
                    Tag::CodeBlock(_) | Tag::HtmlBlock | Tag::FootnoteDefinition(_) => self.hidden += 1,
                    _ => {}
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others only set blocks apart")]
    fn end(&mut self, tag: TagEnd) {
        self.end_run();
        match tag {
            TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Superscript
            | TagEnd::Subscript => {}
            TagEnd::Link => self.links -= 1,
            TagEnd::Image => self.hidden -= 1,
            _ => {
                self.end_block();
                match tag {
                    TagEnd::Heading(_) => self.heading = None,
                    TagEnd::Item => self.items -= 1,
                    TagEnd::BlockQuote(_) => self.quotes -= 1,
                    TagEnd::TableCell => self.cells -= 1,
                    TagEnd::CodeBlock | TagEnd::HtmlBlock | TagEnd::FootnoteDefinition => self.hidden -= 1,
                    _ => {}
                }
            }
        }
    }

    fn end_block(&mut self) {
        self.end_run();
        let kind = match self.heading {
            Some(level) => Kind::Heading(level),
            None if self.cells > 0 => Kind::Cell,
            None if self.items > 0 => Kind::Item,
            None if self.quotes > 0 => Kind::Quote,
            None => Kind::Paragraph,
        };
        let text = std::mem::take(&mut self.text);
        let markers = std::mem::take(&mut self.markers);
        if !text.is_empty() || !markers.is_empty() {
            self.read.push(Read { kind, text, markers });
        }
    }

    /// Takes the citations out of the run, and its text into the block's.
    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { return };
        let mut markers = markers_in(self.markdown, first.start..last.end).into_iter().peekable();
        let mut done = first.start;
        for (text, range) in run {
            // A reference such as `&amp;` reads differently, and is no part of a citation.
            let as_written = text == self.markdown[range.clone()];
            while let Some(marker) = markers.next_if(|marker| marker.range.start < range.end) {
                if as_written {
                    self.push(&self.markdown[done.max(range.start)..marker.range.start]);
                }
                done = marker.range.end;
                self.markers.push((self.text.trim_end().len(), marker));
            }
            if !as_written {
                self.push(&text);
            } else if done < range.end {
                self.push(&self.markdown[done.max(range.start)..range.end]);
            }
        }
    }

    fn push(&mut self, text: &str) {
        for c in text.chars() {
            if !c.is_whitespace() {
                // What a citation leaves in "as said [1]."
                if ".,;:!?".contains(c) && self.text.ends_with(' ') && self.after_marker() {
                    self.text.pop();
                }
                self.text.push(c);
            } else if !self.text.is_empty() && !self.text.ends_with(' ') {
                self.text.push(' ');
            }
        }
    }

    fn after_marker(&self) -> bool {
        self.markers.last().is_some_and(|(at, _)| *at == self.text.trim_end().len())
    }
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// The citations in a run of plain text.
fn markers_in(markdown: &str, run: Range<usize>) -> Vec<Marker> {
    let mut markers = Vec::new();
    let mut at = run.start;
    while let Some(open) = markdown[at..run.end].find('[').map(|offset| at + offset) {
        at = open + 1;
        let Some(close) = markdown[at..run.end].find([']', '[']).map(|offset| at + offset) else { break };
        // A backslash that belongs to no text makes the bracket that begins the text an ordinary sign.
        let escaped = open == run.start && markdown[..open].ends_with('\\');
        if !escaped
            && let Some(numbers) = numbers(&markdown[at..close])
            && markdown[close..].starts_with(']')
        {
            markers.push(Marker { numbers, range: open..close + 1 });
            at = close + 1;
        }
    }
    markers
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    let number = |text: &str| {
        let digits = text.len() <= MOST_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse().ok() } else { None }
    };
    text.split(',').map(|part| number(part.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_found_where_a_reader_sees_them() {
        for (markdown, expected) in [
            ("One [1], two [2, 3] and both[4][5].", &["[1]", "[2, 3]", "[4]", "[5]"][..]),
            ("In **bold [1]** and in\n> a quote [2]\n\n- item [3]", &["[1]", "[2]", "[3]"]),
            ("| a [1] | b |\n|---|---|\n| c [2] | d |", &["[1]", "[2]"]),
            ("`[1]`, ``` [2] ```\n\n    [3]\n\n```\n[4]\n```", &[]),
            ("[1](https://example.org) [see [2]](x) ![3](y) [4][r] [5]\n\n[r]: x\n[5]: y", &[]),
            ("A note[^1] and\n\n[^1]: its text [2]", &[]),
            ("\\[1] \\[2\\] &#91;3] [4\\]", &[]),
            ("[a] [] [1,] [1;2] [-1] [2024] [1 2] [[7]]", &["[7]"]),
            ("<b>[1]</b>\n\n<div>\n[2]\n</div>", &["[1]"]),
            ("ä [1] ö\u{a0}[12, 345]", &["[1]", "[12, 345]"]),
        ] {
            let found: Vec<&str> = markers(markdown).into_iter().map(|it| &markdown[it.range]).collect();
            assert_eq!(found, expected, "{markdown}");
        }
        assert_eq!(markers("a [2, 1, 2]")[0].numbers, [2, 1, 2]);
    }

    /// The text of each sentence, and what it cites.
    type Sentences<'a> = &'a [(&'a str, &'a [u32])];

    #[track_caller]
    fn check(markdown: &str, expected: &[(Kind, Sentences<'_>)]) {
        let found = blocks(markdown);
        let found: Vec<_> = found
            .iter()
            .map(|block| {
                let sentences = block.sentences.iter().map(|it| (it.text.as_str(), it.cites.as_slice()));
                (block.kind, sentences.collect::<Vec<_>>())
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(kind, sentences)| (*kind, sentences.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_citation_belongs_to_the_sentence_that_it_stands_in_or_behind() {
        check(
            "One is *so* [1]. Two is not. [2][3] Three is `lease [9]` said, e.g. here [4], and there[4, 1].[5]\nFour",
            &[(
                Kind::Paragraph,
                &[
                    ("One is so.", &[1]),
                    ("Two is not.", &[2, 3]),
                    ("Three is lease [9] said, e.g. here, and there.", &[4, 1, 5]),
                    ("Four", &[]),
                ],
            )],
        );
        check("[1] First of all. Then.", &[(Kind::Paragraph, &[("First of all.", &[1]), ("Then.", &[])])]);
        check("[1]\n\n## [2]", &[]);
    }

    #[test]
    fn blocks_are_what_the_markdown_sets_apart() {
        check(
            "# The *title*\n\nA [link](x) &amp; a \\*sign\\*.\n\n> Quoted [1]\n\n- one [2]\n  - two\n\n    more\n- three\n\n```\ncode\n```\n\n| h |\n|---|\n| c [3] |\n\n![picture](p)",
            &[
                (Kind::Heading(1), &[("The title", &[])]),
                (Kind::Paragraph, &[("A link & a *sign*.", &[])]),
                (Kind::Quote, &[("Quoted", &[1])]),
                (Kind::Item, &[("one", &[2])]),
                (Kind::Item, &[("two", &[])]),
                (Kind::Item, &[("more", &[])]),
                (Kind::Item, &[("three", &[])]),
                (Kind::Cell, &[("h", &[])]),
                (Kind::Cell, &[("c", &[3])]),
            ],
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_read(markdown in r"([\[\]0-9,.a-zä \n\\`*>#|(!&;^:-]|\[1\]|\]\(){0,60}") {
            for marker in markers(&markdown) {
                proptest::prop_assert!(markdown[marker.range].starts_with('['));
            }
            for block in blocks(&markdown) {
                proptest::prop_assert!(!block.sentences.is_empty());
            }
        }
    }
}
