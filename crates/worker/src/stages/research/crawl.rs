//! Reading a site: from one page over the links that its pages have, on its host. Nearer pages come first, and among
//! them those whose address names the topic.

use std::cmp::Reverse;
use std::collections::HashSet;

use quillwork_app::address::{canonical, site as site_of};
use quillwork_app::ports::fetch::Page;
use quillwork_text::words::{terms, topic_terms};

use super::read::Reading;
use super::settings::Site;
use crate::stage::StageError;

impl Reading<'_> {
    /// The pages of the site that can be read, nearest first: at most `site.pages` are asked for.
    pub(super) async fn crawl(&mut self, site: &Site) -> Result<Vec<Page>, StageError> {
        let start = canonical(&site.url).unwrap_or_else(|| site.url.clone());
        let home = site_of(&start);
        let mut known = HashSet::from([start.clone()]);
        let mut level = vec![start];
        let mut pages: Vec<Page> = Vec::new();
        let mut asked = 0;
        let topic = topic_terms(&self.query.topic);
        for depth in 0..=site.depth {
            // Equal ones stay in the order of the pages.
            level.sort_by_cached_key(|link| Reverse(named(&topic, link)));
            level.truncate(site.pages - asked);
            asked += level.len();
            let read = self.fetch(std::mem::take(&mut level)).await?;
            for page in read.into_iter().flatten() {
                // A redirect may have left the host, or led to a page that was read.
                let moved =
                    !known.insert(page.url.clone()) && pages.iter().any(|known| known.url == page.url);
                if moved || site_of(&page.url) != home {
                    continue;
                }
                if depth < site.depth {
                    let links = page.links.iter().filter(|link| site_of(link) == home);
                    level.extend(links.filter(|link| known.insert((*link).clone())).cloned());
                }
                pages.push(page);
            }
            if level.is_empty() || asked >= site.pages {
                break;
            }
        }
        Ok(pages)
    }
}

/// How many terms of the topic stand in an address.
fn named(topic: &[String], address: &str) -> usize {
    let in_address = terms(&address.replace(['_', '-', '/', '.'], " "));
    topic.iter().filter(|term| in_address.contains(term)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

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
