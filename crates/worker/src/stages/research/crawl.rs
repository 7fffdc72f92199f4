//! Reading a site: breadth first from one page, on its host, over the links that its pages have.

use std::collections::HashSet;

use quillwork_app::address::{canonical, site as site_of};
use quillwork_app::ports::fetch::Page;

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
        for depth in 0..=site.depth {
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
