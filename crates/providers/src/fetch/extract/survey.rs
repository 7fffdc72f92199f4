//! What a page says about itself and others: its language and its links.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use html5ever::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, StartTag, Tag, TagToken, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use quillwork_app::address::canonical;
use url::Url;

use super::has_nofollow;
use crate::corpus::html::{attribute, content_state};
use crate::fetch::name_of;

const MOST_LINKS: usize = 1_000;

/// So many are looked at to find them: most pages repeat theirs.
const MOST_REFERENCES: usize = 20 * MOST_LINKS;

/// Ordinary HTML takes a small part of it. A tag with a million attributes would take hours, and
/// nothing tells before it ends.
const LONGEST_READING: Duration = Duration::from_secs(2);
const CHUNK: usize = 4_096;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Survey {
    /// Canonical, each once, in the order of the page.
    pub(super) links: Vec<String>,
    /// In lower case, without the region.
    pub(super) language: Option<String>,
}

/// # Errors
/// If the tags are made to take time.
pub(super) fn survey(source: &str, url: &Url, product: &str) -> Result<Survey, String> {
    let started = Instant::now();
    let input = BufferQueue::default();
    let sink = Sink { product, seen: RefCell::default() };
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let mut rest = source;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rest.floor_char_boundary(CHUNK));
        rest = behind;
        input.push_back(StrTendril::from(chunk));
        // The tokenizer pauses after each script, as a browser would.
        while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
        if started.elapsed() > LONGEST_READING {
            return Err("its tags take too long to read".to_owned());
        }
    }
    tokenizer.end();
    Ok(tokenizer.sink.seen.into_inner().resolve(url))
}

struct Sink<'a> {
    product: &'a str,
    seen: RefCell<Seen>,
}

#[derive(Default)]
struct Seen {
    base: Option<String>,
    references: Vec<String>,
    nofollow: bool,
    language: Option<String>,
}

impl TokenSink for Sink<'_> {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        if let TagToken(tag) = token
            && tag.kind == StartTag
        {
            self.seen.borrow_mut().see(&tag, self.product);
            return content_state(&tag);
        }
        TokenSinkResult::Continue
    }
}

impl Seen {
    fn see(&mut self, tag: &Tag, product: &str) {
        let get = |name| attribute(&tag.attrs, name);
        match &*tag.name {
            "a" | "area" => {
                let nofollow = get("rel").is_some_and(|rel| {
                    rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("nofollow"))
                });
                if let Some(href) =
                    get("href").filter(|_| !nofollow && self.references.len() < MOST_REFERENCES)
                {
                    self.references.push(href.to_owned());
                }
            }
            // The first one counts.
            "base" if self.base.is_none() => self.base = get("href").map(str::to_owned),
            "html" if self.language.is_none() => {
                self.language = get("lang").or_else(|| get("xml:lang")).and_then(language);
            }
            "meta" => {
                let name = get("name").unwrap_or_default().trim();
                let asked = get("content").unwrap_or_default().to_ascii_lowercase();
                self.nofollow |= (name.eq_ignore_ascii_case("robots") || name.eq_ignore_ascii_case(product))
                    && has_nofollow(&asked);
            }
            _ => {}
        }
    }

    fn resolve(self, url: &Url) -> Survey {
        let base = self.base.and_then(|base| url.join(base.trim()).ok());
        let base = base.as_ref().unwrap_or(url);
        let references = if self.nofollow { Vec::new() } else { self.references };
        // A page does not link to itself.
        let mut known = HashSet::from([name_of(url)]);
        let links = references
            .iter()
            .filter_map(|reference| canonical(base.join(reference.trim()).ok()?.as_str()))
            .filter(|link| known.insert(link.clone()))
            .take(MOST_LINKS)
            .collect();
        Survey { links, language: self.language }
    }
}

/// `de-AT` is `de`.
fn language(tag: &str) -> Option<String> {
    let primary = tag.trim().split(['-', '_']).next()?;
    let well_formed =
        (2..=8).contains(&primary.len()) && primary.bytes().all(|byte| byte.is_ascii_alphabetic());
    well_formed.then(|| primary.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Survey {
        survey(source, &Url::parse("https://example.com/a/page?x=1").unwrap(), "quillwork").unwrap()
    }

    #[test]
    fn links_are_canonical_and_each_there_once() {
        let source = r##"<a href="b">1</a><a href="./b#top">again</a><A HREF='/c?utm_source=x'>2</A><a href=//OTHER.example>3</a>
            <a href="?x=1#self">self</a><a href="#top">self</a><a>none</a><a href="mailto:a@b">no</a>
            <a href="javascript:x()">no</a><a href="http://user:p@h/">no</a><a href=" d
            e ">4</a><area href=f><a rel="external NoFollow" href=g>no</a><a href="http://[x/">no</a>
            <script>"<a href=in-script>"</script><!-- <a href=in-comment> --><textarea><a href=no></textarea>"##;
        assert_eq!(
            read(source).links,
            [
                "https://example.com/a/b",
                "https://example.com/c",
                "https://other.example/",
                "https://example.com/a/d%20%20%20%20%20%20%20%20%20%20%20%20e",
                "https://example.com/a/f",
            ]
        );
    }

    #[test]
    fn the_first_base_counts() {
        for (source, link) in [
            ("<a href=x><base href='/deep/'><base href='/other/'>", "https://example.com/deep/x"),
            ("<base target=_top><base href=sub/><a href=x>", "https://example.com/a/sub/x"),
            ("<base href='http://cdn.example/y/z'><a href=x>", "http://cdn.example/y/x"),
            ("<base href='http://[bad'><a href=x>", "https://example.com/a/x"),
        ] {
            assert_eq!(read(source).links, [link], "{source}");
        }
    }

    #[test]
    fn a_page_may_keep_its_links_to_itself() {
        for (meta, follow) in [
            ("<meta name=robots content='noindex, nofollow'>", false),
            ("<META NAME=Robots CONTENT=NONE>", false),
            ("<meta name=quillwork content=nofollow>", false),
            ("<meta name=otherbot content=nofollow>", true),
            ("<meta name=robots content=noindex>", true),
        ] {
            // What comes later counts, too.
            assert_eq!(read(&format!("<a href=x>{meta}")).links.len(), usize::from(follow), "{meta}");
        }
    }

    #[test]
    fn languages_are_short() {
        for (source, language) in [
            ("<html lang=en>", Some("en")),
            ("<!doctype html><HTML LANG='de-AT'>", Some("de")),
            ("<html xml:lang=pt_BR>", Some("pt")),
            ("<html lang=''>", None),
            ("<html lang='<x>'>", None),
            ("<html lang=abcdefghijk>", None),
            ("<p lang=fr>", None),
        ] {
            assert_eq!(read(source).language.as_deref(), language, "{source}");
        }
    }

    #[test]
    fn no_page_has_more_links_than_that() {
        let source: String = (0..2 * MOST_LINKS).map(|n| format!("<a href={n}>")).collect();
        assert_eq!(read(&source).links.len(), MOST_LINKS);
        let repeated = "<a href=same>".repeat(2 * MOST_REFERENCES) + "<a href=late>";
        assert_eq!(read(&repeated).links, ["https://example.com/a/same"]);
    }

    #[test]
    fn a_tag_that_is_made_to_take_time_is_not_read() {
        let bomb: String = (0..700_000).fold("<a".to_owned(), |tag, n| tag + &format!(" {n:x}"));
        let url = Url::parse("https://example.com/").unwrap();
        assert_eq!(survey(&bomb, &url, "quillwork"), Err("its tags take too long to read".to_owned()));
    }
}
