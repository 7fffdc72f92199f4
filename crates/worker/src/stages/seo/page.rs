//! A rendered article as a search engine sees it.

use std::cell::RefCell;

use html5ever::Attribute;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, CharacterTokens, StartTag, Tag, TagToken, Token, TokenSink, TokenSinkResult, Tokenizer,
    TokenizerOpts,
};

/// Elements within a line of text; every other element ends the block.
const INLINE: &[&str] = &["a", "br", "code", "del", "em", "img", "input", "strong", "sup"];

#[derive(Debug, Default, PartialEq)]
pub(super) struct Page {
    /// In the order of the page, without code blocks.
    pub(super) blocks: Vec<Block>,
    pub(super) links: Vec<Link>,
    pub(super) images: Vec<Image>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Block {
    /// The level of a heading, 1 to 6.
    pub(super) heading: Option<u8>,
    pub(super) text: String,
}

#[derive(Debug, PartialEq)]
pub(super) struct Link {
    pub(super) to: String,
    pub(super) text: String,
}

#[derive(Debug, PartialEq)]
pub(super) struct Image {
    pub(super) address: String,
    pub(super) alt: String,
}

impl Page {
    pub(super) fn read(html: &str) -> Self {
        let input = BufferQueue::default();
        input.push_back(StrTendril::from(html));
        let tokenizer = Tokenizer::new(Sink(RefCell::new(Reader::default())), TokenizerOpts::default());
        // The tokenizer pauses after each script, as a browser would.
        while !input.is_empty() {
            let _ = tokenizer.feed(&input);
        }
        tokenizer.end();
        let mut reader = tokenizer.sink.0.into_inner();
        reader.end_block();
        reader.page
    }

    pub(super) fn headings(&self) -> impl Iterator<Item = (u8, &str)> {
        self.blocks.iter().filter_map(|block| Some((block.heading?, block.text.as_str())))
    }

    pub(super) fn paragraphs(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().filter(|block| block.heading.is_none()).map(|block| block.text.as_str())
    }
}

struct Sink(RefCell<Reader>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut reader = self.0.borrow_mut();
        if let CharacterTokens(text) = token {
            reader.text(&text);
        } else if let TagToken(tag) = token {
            if tag.kind == StartTag { reader.start(&tag) } else { reader.end(&tag.name) }
        }
        TokenSinkResult::Continue
    }
}

#[derive(Default)]
struct Reader {
    page: Page,
    heading: Option<u8>,
    text: String,
    code_blocks: usize,
    in_link: bool,
}

impl Reader {
    fn text(&mut self, text: &str) {
        if self.code_blocks > 0 {
            return;
        }
        self.text.push_str(text);
        if self.in_link
            && let Some(link) = self.page.links.last_mut()
        {
            link.text.push_str(text);
        }
    }

    fn start(&mut self, tag: &Tag) {
        if !INLINE.contains(&&*tag.name) {
            self.end_block();
        }
        match &*tag.name {
            "pre" => self.code_blocks += 1,
            "a" => {
                self.page.links.push(Link { to: attribute(&tag.attrs, "href"), text: String::new() });
                self.in_link = true;
            }
            "img" => self
                .page
                .images
                .push(Image { address: attribute(&tag.attrs, "src"), alt: attribute(&tag.attrs, "alt") }),
            "br" => self.text.push(' '),
            name if INLINE.contains(&name) => {}
            name => self.heading = level(name),
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "a" => self.in_link = false,
            "pre" => self.code_blocks = self.code_blocks.saturating_sub(1),
            name if INLINE.contains(&name) => {}
            _ => self.end_block(),
        }
    }

    fn end_block(&mut self) {
        let text = std::mem::take(&mut self.text).split_whitespace().collect::<Vec<_>>().join(" ");
        let heading = self.heading.take();
        if !text.is_empty() || heading.is_some() {
            self.page.blocks.push(Block { heading, text });
        }
    }
}

fn level(name: &str) -> Option<u8> {
    let level = name.strip_prefix('h')?.parse().ok()?;
    (1..=6).contains(&level).then_some(level)
}

fn attribute(attributes: &[Attribute], name: &str) -> String {
    let found = attributes.iter().find(|attribute| &*attribute.name.local == name);
    found.map_or_else(String::new, |attribute| attribute.value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use quillwork_text::render::to_html;

    use super::*;

    #[test]
    fn a_page_has_headings_text_links_and_images() {
        let page = Page::read(&to_html(
            "# The *title*\n\nSome `code` and\n[a *link*](https://e.org/?a&b).\n\n```\n# no heading\n```\n\n- item one\n\n## \
             Two\n\n![a picture](p.png) ![](q.png)\n",
        ));
        let block = |heading, text: &str| Block { heading, text: text.to_owned() };
        assert_eq!(
            page.blocks,
            [
                block(Some(1), "The title"),
                block(None, "Some code and a link."),
                block(None, "item one"),
                block(Some(2), "Two"),
            ]
        );
        assert_eq!(page.links, [Link { to: "https://e.org/?a&b".to_owned(), text: "a link".to_owned() }]);
        let alts: Vec<_> =
            page.images.iter().map(|image| (image.address.as_str(), image.alt.as_str())).collect();
        assert_eq!(alts, [("p.png", "a picture"), ("q.png", "")]);
    }
}
