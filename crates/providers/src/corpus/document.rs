//! A document as the readers deliver it: a title, and passages with their lines.

use crate::corpus::apparatus::{is_apparatus, is_aside};
use quillwork_text::sentence::sentences;

/// Stands in a text where the file has something between that the text leaves out: a page footer, an image,
/// the asterisks of an emphasis.
///
/// It is white space, so it separates words and folds away; a sentence that holds one is not in the file word
/// for word and must not be quoted.
pub(crate) const GAP: char = '\u{c}';

/// Longer sections become several passages.
const PASSAGE_WORDS: usize = 260;

/// Longer titles and headings are cut, in characters: every passage repeats its heading.
const LONGEST_HEADING: usize = 300;

/// Shorter passages say nothing.
const SHORTEST_PASSAGE: usize = 4;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) title: String,
    pub(crate) passages: Vec<DocumentPassage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocumentPassage {
    pub(crate) heading: String,
    /// White space folded, one line per paragraph or list item.
    pub(crate) text: String,
    /// First and last line in the file, from 1.
    pub(crate) lines: [u32; 2],
}

/// A paragraph, list item or table cell whose words remember their lines.
#[derive(Clone, Debug, Default)]
struct Block {
    text: String,
    /// From each offset on, the text stands on that line.
    lines: Vec<(usize, u32)>,
    space: bool,
    gap: bool,
}

impl Block {
    fn push(&mut self, text: &str, line: u32) {
        for (n, part) in (0u32..).zip(text.split('\n')) {
            if n > 0 {
                self.space = true;
            }
            for word in part.split_inclusive(char::is_whitespace) {
                let trimmed = word.trim();
                if !trimmed.is_empty() {
                    self.push_word(trimmed, line.saturating_add(n));
                }
                self.space |= trimmed.len() < word.len();
            }
        }
    }

    fn push_word(&mut self, word: &str, line: u32) {
        if !self.text.is_empty() {
            if self.gap {
                self.text.push(GAP);
            }
            if self.space {
                self.text.push(' ');
            }
        }
        (self.gap, self.space) = (false, false);
        if self.lines.last().is_none_or(|&(_, last)| last != line) {
            self.lines.push((self.text.len(), line));
        }
        self.text.push_str(word);
    }

    fn line_at(&self, offset: usize) -> u32 {
        let after = self.lines.partition_point(|&(start, _)| start <= offset);
        self.lines.get(after.saturating_sub(1)).map_or(1, |&(_, line)| line)
    }
}

/// Receives a document from top to bottom and cuts it into passages.
#[derive(Debug, Default)]
pub(crate) struct DocumentBuilder {
    title: Option<String>,
    heading: String,
    skipping: bool,
    block: Block,
    passage: Option<DocumentPassage>,
    passages: Vec<DocumentPassage>,
}

impl DocumentBuilder {
    /// The first title counts.
    pub(crate) fn title(&mut self, title: &str) {
        let title = short(title);
        if self.title.is_none() && !title.is_empty() {
            self.title = Some(title);
        }
    }

    pub(crate) fn has_title(&self) -> bool {
        self.title.is_some()
    }

    /// Starts a section. The text of a section about the document itself is left out.
    pub(crate) fn heading(&mut self, heading: &str) {
        if is_aside(heading) {
            return self.end_block();
        }
        self.end_passage();
        self.heading = short(heading);
        self.skipping = is_apparatus(heading);
    }

    /// Adds text to the current block; `line` is the one on which the text starts.
    pub(crate) fn push(&mut self, text: &str, line: u32) {
        self.block.push(text, line);
    }

    /// The next words do not follow the last ones directly in the file.
    pub(crate) fn gap(&mut self) {
        self.block.gap = true;
    }

    pub(crate) fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        if self.skipping {
            return;
        }
        if count_words(&block.text) <= PASSAGE_WORDS {
            self.add(&block, 0..block.text.len());
            return;
        }
        for range in sentences(&block.text) {
            self.add(&block, range);
        }
    }

    /// Forgets everything but the title: what came so far was navigation.
    pub(crate) fn restart(&mut self) {
        *self = Self { title: self.title.take(), ..Self::default() };
    }

    /// `fallback` is the title of a document that names none.
    pub(crate) fn finish(mut self, fallback: &str) -> Document {
        self.end_passage();
        Document { title: self.title.unwrap_or_else(|| short(fallback)), passages: self.passages }
    }

    fn add(&mut self, block: &Block, range: std::ops::Range<usize>) {
        let text = &block.text[range.clone()];
        if text.is_empty() {
            return;
        }
        let lines = [block.line_at(range.start), block.line_at(range.end.saturating_sub(1))];
        if let Some(passage) = &mut self.passage {
            if count_words(&passage.text) + count_words(text) <= PASSAGE_WORDS {
                // Sentences of one long block stay in one paragraph.
                passage.text.push(if range.start == 0 { '\n' } else { ' ' });
                passage.text.push_str(text);
                passage.lines[1] = lines[1];
                return;
            }
            self.end_section();
        }
        self.passage = Some(DocumentPassage { heading: self.heading.clone(), text: text.to_owned(), lines });
    }

    fn end_passage(&mut self) {
        self.end_block();
        self.end_section();
    }

    fn end_section(&mut self) {
        if let Some(passage) = self.passage.take()
            && count_words(&passage.text) >= SHORTEST_PASSAGE
        {
            self.passages.push(passage);
        }
    }
}

/// Folds every run of white space to one blank.
pub(crate) fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn short(heading: &str) -> String {
    let folded = fold(heading);
    folded
        .char_indices()
        .nth(LONGEST_HEADING)
        .map_or_else(|| folded.clone(), |(end, _)| folded[..end].to_owned())
}

fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_the_words() {
        let mut builder = DocumentBuilder::default();
        builder.push("one two\nthree four", 10);
        builder.push(" five", 11);
        builder.end_block();
        builder.push("six seven eight nine", 14);
        let document = builder.finish("name");
        assert_eq!(
            document.passages,
            [DocumentPassage {
                heading: String::new(),
                text: "one two three four five\nsix seven eight nine".to_owned(),
                lines: [10, 14]
            }]
        );
    }

    #[test]
    fn a_heading_that_is_a_text_is_cut() {
        let mut builder = DocumentBuilder::default();
        builder.title(&"t\u{e4}".repeat(LONGEST_HEADING));
        builder.heading(&"word ".repeat(LONGEST_HEADING));
        builder.push("one two three four", 1);
        let document = builder.finish("name");
        assert_eq!(document.title, "t\u{e4}".repeat(LONGEST_HEADING / 2));
        assert_eq!(document.passages[0].heading, "word ".repeat(LONGEST_HEADING / 5));
    }

    #[test]
    fn a_long_block_is_cut_between_sentences() {
        let mut builder = DocumentBuilder::default();
        for n in 1..=100 {
            builder.push("This sentence has exactly six words.\n", n);
        }
        let document = builder.finish("name");
        assert_eq!(document.passages.len(), 3);
        assert_eq!(document.passages[0].lines, [1, 43]);
        assert_eq!(document.passages[1].lines, [44, 86]);
        assert!(document.passages.iter().all(|passage| passage.text.ends_with("words.")));
    }
}
