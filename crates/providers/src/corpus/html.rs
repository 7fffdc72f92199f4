//! Reads HTML: the visible text in file order, without navigation, code blocks and forms.
//!
//! Works on the tokens of the HTML standard's tokenizer, which know their lines; a tree would have lost them.

use std::cell::RefCell;

use html5ever::Attribute;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::{Rawtext, Rcdata, ScriptData};
use html5ever::tokenizer::{
    BufferQueue, CharacterTokens, StartTag, Tag, TagToken, Token, TokenSink, TokenSinkResult, Tokenizer,
    TokenizerOpts,
};

use crate::corpus::document::{Document, DocumentBuilder, fold};

/// Elements within a line of text; every other element ends the block.
#[rustfmt::skip]
const INLINE: &[&str] = &[
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i",
    "ins", "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup",
    "time", "tt", "u", "var", "wbr",
];

/// Elements that hold no prose.
#[rustfmt::skip]
const SKIPPED: &[&str] = &[
    "aside", "audio", "button", "canvas", "figure", "footer", "iframe", "math", "nav", "noscript",
    "object", "pre", "script", "select", "style", "svg", "template", "textarea", "video",
];

/// Elements whose content is never text.
const UNREADABLE: &[&str] =
    &["iframe", "math", "noscript", "pre", "script", "select", "style", "svg", "template"];

#[rustfmt::skip]
const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
];

/// Names that sites give to what surrounds the text, as `class`, `id` or `role`.
#[rustfmt::skip]
const FURNITURE: &[&str] = &[
    "banner", "bottomlang", "breadcrumb", "breadcrumbs", "comments_section", "complementary", "contentinfo",
    "footer", "genindextable", "headerlink", "indextable", "langs", "menu", "modindextable", "nav", "navbar",
    "navfooter", "navheader", "navigation", "quickview", "related", "search", "sidebar",
    "sphinxsidebar", "toc", "toctree-wrapper", "toplang",
];

pub(crate) fn read(source: &str, file_name: &str) -> Document {
    let document = read_with(source, file_name, SKIPPED);
    if document.passages.is_empty() {
        // Some pages wrap their text in what others use for navigation.
        return read_with(source, file_name, UNREADABLE);
    }
    document
}

fn read_with(source: &str, file_name: &str, skipped: &'static [&'static str]) -> Document {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(source));
    let reader = Reader { skipped, ..Reader::default() };
    let tokenizer = Tokenizer::new(Sink(RefCell::new(reader)), TokenizerOpts::default());
    // The tokenizer pauses after each script, as a browser would.
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    tokenizer.sink.0.into_inner().finish(file_name)
}

struct Sink(RefCell<Reader>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
        let mut reader = self.0.borrow_mut();
        if let CharacterTokens(text) = token {
            // The tokenizer tells the line on which a run of text ends.
            let newlines = text.bytes().filter(|&byte| byte == b'\n').count() as u64;
            reader.text(&text, u32::try_from(line.saturating_sub(newlines)).unwrap_or(u32::MAX));
        } else if let TagToken(tag) = token {
            if tag.kind == StartTag {
                reader.start(&tag);
                return content_state(&tag);
            }
            reader.end(&tag);
        }
        TokenSinkResult::Continue
    }
}

/// How the tokenizer reads on after a start tag: some elements hold no tags.
pub(crate) fn content_state(tag: &Tag) -> TokenSinkResult<()> {
    match &*tag.name {
        "script" => TokenSinkResult::RawData(ScriptData),
        "style" | "iframe" | "noframes" | "xmp" => TokenSinkResult::RawData(Rawtext),
        "title" | "textarea" => TokenSinkResult::RawData(Rcdata),
        _ => TokenSinkResult::Continue,
    }
}

/// An open element whose end matters, counted through elements of the same name inside it.
///
/// Counting one name only survives the unclosed paragraphs and list items of real pages.
struct Open {
    name: String,
    depth: usize,
}

#[derive(Default)]
struct Reader {
    /// The elements to leave out.
    skipped: &'static [&'static str],
    builder: DocumentBuilder,
    skipping: Option<Open>,
    main: Option<Open>,
    /// The main part is over: what follows is the page's furniture.
    done: bool,
    in_title: bool,
    page_title: String,
    /// The text of the heading being read.
    heading: Option<String>,
}

impl Reader {
    fn start(&mut self, tag: &Tag) {
        let name = &*tag.name;
        if let Some(skipping) = &mut self.skipping {
            skipping.depth += usize::from(skipping.name == name);
            return;
        }
        let void = VOID.contains(&name) || tag.self_closing && !INLINE.contains(&name);
        if name == "title" && self.page_title.is_empty() {
            self.in_title = true;
        } else if self.skips(name, void, &tag.attrs) {
            self.skip_from(name, void);
        } else if name == "br" || name == "img" {
            self.builder.gap();
            self.builder.push(" ", 0);
            if let Some(heading) = &mut self.heading {
                heading.push(' ');
            }
        } else if is_heading(name) {
            self.end_heading(None);
            self.builder.end_block();
            self.heading = Some(String::new());
        } else if !INLINE.contains(&name) && self.heading.is_none() {
            self.builder.end_block();
        }
        if let Some(main) = &mut self.main {
            main.depth += usize::from(main.name == name);
        } else if !self.done && (name == "main" || attribute(&tag.attrs, "role") == Some("main")) {
            self.builder.restart();
            self.main = Some(Open { name: name.to_owned(), depth: 1 });
        }
    }

    fn skips(&self, name: &str, void: bool, attributes: &[Attribute]) -> bool {
        self.skipped.contains(&name) || self.skipped == SKIPPED && !void && is_furniture(name, attributes)
    }

    fn skip_from(&mut self, name: &str, void: bool) {
        if !void {
            self.skipping = Some(Open { name: name.to_owned(), depth: 1 });
        }
        if self.heading.is_some() {
        } else if INLINE.contains(&name) {
            self.builder.gap();
        } else {
            self.builder.end_block();
        }
    }

    fn end(&mut self, tag: &Tag) {
        let name = &*tag.name;
        if let Some(skipping) = &mut self.skipping {
            if skipping.name == name {
                skipping.depth -= 1;
                if skipping.depth == 0 {
                    self.skipping = None;
                }
            }
            return;
        }
        if name == "title" {
            self.in_title = false;
        } else if is_heading(name) {
            self.end_heading(Some(name));
        } else if !INLINE.contains(&name) && self.heading.is_none() {
            self.builder.end_block();
        }
        if let Some(main) = &mut self.main
            && main.name == name
        {
            main.depth -= 1;
            if main.depth == 0 {
                self.builder.end_block();
                self.main = None;
                self.done = true;
            }
        }
    }

    fn text(&mut self, text: &str, line: u32) {
        if self.in_title {
            self.page_title.push_str(text);
        } else if self.skipping.is_some() || self.done {
        } else if let Some(heading) = &mut self.heading {
            heading.push_str(text);
        } else {
            self.builder.push(text, line);
        }
    }

    /// `level` is the element that ended, if it was closed at all.
    fn end_heading(&mut self, level: Option<&str>) {
        let Some(heading) = self.heading.take() else { return };
        let heading = heading.replace('¶', " ");
        if self.done || heading.trim().is_empty() {
            return;
        }
        if level == Some("h1") && !self.builder.has_title() {
            self.builder.title(&heading);
            self.builder.heading("");
        } else {
            self.builder.heading(&heading);
        }
    }

    fn finish(mut self, file_name: &str) -> Document {
        self.end_heading(None);
        let page_title = without_site(&fold(&self.page_title)).to_owned();
        self.builder.finish(if page_title.is_empty() { file_name } else { &page_title })
    }
}

/// A page's title without the site's name behind it.
pub(crate) fn without_site(title: &str) -> &str {
    [" — ", " – ", " | ", " · ", " :: ", " - "]
        .into_iter()
        .filter_map(|separator| title.split_once(separator))
        .map(|(page, _)| page.trim())
        .find(|page| !page.is_empty())
        .unwrap_or(title)
}

fn is_heading(name: &str) -> bool {
    matches!(name, "h1" | "h2" | "h3" | "h4" | "h5" | "h6")
}

fn is_furniture(name: &str, attributes: &[Attribute]) -> bool {
    // The page itself may be called anything.
    !matches!(name, "html" | "body" | "main" | "article")
        && !is_heading(name)
        && attribute(attributes, "role") != Some("main")
        && ["class", "id", "role"].into_iter().any(|key| {
            attribute(attributes, key)
                .is_some_and(|value| value.split_whitespace().any(|word| FURNITURE.contains(&word)))
        })
}

pub(crate) fn attribute<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visible_text_keeps_its_lines() {
        let source = "<html><head><title>Tasks &mdash; Docs 3</title>\n<script>\nif (a < b) {}\n</script></head><body>\n<nav>Home\n</nav><div role=main>\n<h1>Tasks<a class=headerlink>¶</a></h1>\n<p>A <em>task</em> is <code>run\nsoon</code> &amp; often.\n<p>Next<br>line.\n<h2 id=top>Second <i>part</i></h2>\n<ul><li>One item of four\n<li>Two items of five words\n</ul><pre>code\n</pre></div><p>After the end of it all.</body>";
        let document = read(source, "x.html");
        assert_eq!(document.title, "Tasks");
        let passages: Vec<_> =
            document.passages.iter().map(|it| (it.heading.as_str(), it.text.as_str(), it.lines)).collect();
        assert_eq!(
            passages,
            [
                ("", "A task is run soon & often.\nNext\u{c} line.", [8, 10]),
                ("Second part", "One item of four\nTwo items of five words", [12, 13]),
            ]
        );
    }

    #[test]
    fn a_page_that_is_all_furniture_is_read_anyway() {
        let document =
            read("<title>T</title><nav><p>Words in an unclosed navigation.<pre>code</pre>", "x.html");
        assert_eq!(document.passages.len(), 1);
        assert_eq!(document.passages[0].text, "Words in an unclosed navigation.");
    }

    #[test]
    fn a_title_loses_the_name_of_its_site() {
        assert_eq!(without_site("Coroutines — Python 3.11 documentation"), "Coroutines");
        assert_eq!(without_site("No site"), "No site");
    }
}
