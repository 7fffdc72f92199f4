//! Reading a site: from one page over the links that its pages have, on its host. Nearer pages come first, and among
//! them those whose address names the topic.

use std::cmp::Reverse;
use std::collections::HashSet;

use quillwork_app::address::{canonical, site as site_of};
use quillwork_app::ports::fetch::Page;
use quillwork_app::ports::search::Skipped;
use quillwork_text::words::{terms, topic_terms};

use super::read::Reading;
use super::settings::Site;
use crate::stage::StageError;

/// Pages that are asked for before the links of those that came are looked at.
const CHUNK: usize = 50;

/// When the pages of a site hold more prose than this, in bytes, no more are read.
const MAX_PROSE: usize = 64 * 1024 * 1024;

/// For each page that may be read so many links are kept to choose from.
const LINKS_PER_PAGE: usize = 20;

impl Reading<'_> {
    /// The pages of the site that can be read, nearest first: at most `site.pages` are asked for.
    pub(super) async fn crawl(&mut self, site: &Site) -> Result<Vec<Page>, StageError> {
        let start = canonical(&site.url).unwrap_or_else(|| site.url.clone());
        let mut crawl = Crawl {
            home: site_of(&start),
            known: HashSet::from([start.clone()]),
            next: vec![],
            pages: vec![],
            prose: 0,
        };
        let topic = topic_terms(&self.query.topic);
        let mut level = vec![start];
        let mut asked = 0;
        for depth in 0..=site.depth {
            // Equal ones stay in the order of the pages.
            level.sort_by_cached_key(|link| Reverse(named(&topic, link)));
            level.truncate(site.pages - asked);
            asked += level.len();
            for chunk in level.chunks(CHUNK) {
                if crawl.prose > MAX_PROSE {
                    let reason = format!("the pages before it hold more than {MAX_PROSE} bytes of prose");
                    self.skipped.extend(chunk.iter().map(|url| left_out(url, &reason)));
                    continue;
                }
                let pages = self.fetch(chunk.to_vec()).await?;
                for (asked_for, page) in chunk.iter().zip(pages) {
                    let Some(page) = page else { continue };
                    // The address that was given may lead to the site's true one.
                    if depth == 0 {
                        crawl.home = site_of(&page.url);
                    }
                    let room = if depth < site.depth { site.pages * LINKS_PER_PAGE } else { 0 };
                    if let Err(reason) = crawl.take(page, room) {
                        self.skipped.push(left_out(asked_for, reason));
                    }
                }
            }
            level = std::mem::take(&mut crawl.next);
            if level.is_empty() || asked >= site.pages {
                break;
            }
        }
        Ok(crawl.pages)
    }
}

/// What is known of a site.
struct Crawl {
    home: Option<(String, u16)>,
    /// Addresses that were asked for, found or led to.
    known: HashSet<String>,
    /// Links that nobody has followed.
    next: Vec<String>,
    pages: Vec<Page>,
    /// In bytes, of all pages.
    prose: usize,
}

impl Crawl {
    /// Takes a page, and of its links those to the site, while there is `room`. An error says why it is left out.
    fn take(&mut self, mut page: Page, room: usize) -> Result<(), &'static str> {
        if site_of(&page.url) != self.home {
            return Err("it leads to another site");
        }
        // A redirect may have led to a page that was read.
        if !self.known.insert(page.url.clone()) && self.pages.iter().any(|known| known.url == page.url) {
            return Err("it leads to a page that was read");
        }
        for link in std::mem::take(&mut page.links) {
            let has_room = self.next.len() < room;
            if has_room && site_of(&link) == self.home && self.known.insert(link.clone()) {
                self.next.push(link);
            }
        }
        self.prose += page.passages.iter().map(|passage| passage.text.len()).sum::<usize>();
        self.pages.push(page);
        Ok(())
    }
}

fn left_out(url: &str, reason: &str) -> Skipped {
    Skipped { path: url.to_owned(), reason: reason.to_owned() }
}

/// How many terms of the topic stand in an address.
fn named(topic: &[String], address: &str) -> usize {
    let in_address = terms(&address.replace(['_', '-', '/', '.'], " "));
    topic.iter().filter(|term| in_address.contains(term)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(url: &str, links: &[&str]) -> Page {
        Page {
            url: url.to_owned(),
            title: String::new(),
            passages: vec![],
            links: links.iter().map(|link| (*link).to_owned()).collect(),
            sha256: String::new(),
            language: None,
        }
    }

    #[test]
    fn a_site_is_its_own_pages_once_and_no_more_links_than_there_is_room() {
        let mut crawl = Crawl {
            home: site_of("https://a.org/"),
            known: HashSet::from(["https://a.org/".to_owned()]),
            next: vec![],
            pages: vec![],
            prose: 0,
        };
        let links =
            ["https://a.org/1", "https://b.org/", "https://a.org/", "https://a.org/2", "https://a.org/3"];
        assert_eq!(crawl.take(page("https://a.org/", &links), 2), Ok(()));
        assert_eq!(crawl.next, ["https://a.org/1", "https://a.org/2"]);
        assert_eq!(crawl.take(page("https://b.org/", &[]), 2), Err("it leads to another site"));
        assert_eq!(crawl.take(page("https://a.org/", &[]), 2), Err("it leads to a page that was read"));
        assert_eq!(crawl.take(page("https://a.org/1", &[]), 2), Ok(()), "known, and not read");
    }

    #[test]
    fn terms_of_the_topic_are_found_in_addresses() {
        let topic = topic_terms("asyncio task cancellation");
        let cases = [
            ("https://docs.org/library/asyncio-task.html", 2),
            ("https://docs.org/library/asyncio_tasks?x=1", 2),
            ("https://docs.org/tutorial/index.html", 0),
        ];
        for (address, expected) in cases {
            assert_eq!(named(&topic, address), expected, "{address}");
        }
    }
}
