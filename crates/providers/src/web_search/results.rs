//! From what a provider lists to sources.

use std::collections::HashSet;

use quillwork_app::address::canonical;
use quillwork_app::ports::search::{Findings, Location, Query, Searched, Source};

/// A longer title is cut.
const MAX_TITLE_CHARS: usize = 300;

/// Some pages will not be had, and others will be the same: so many are asked for.
pub(super) fn wanted(query: &Query) -> usize {
    query.max_sources.saturating_mul(3)
}

/// Collects what a provider lists, and leaves out what is no page.
pub(super) struct Results {
    max: usize,
    listed: u64,
    known: HashSet<String>,
    sources: Vec<Source>,
}

impl Results {
    pub(super) fn new(max: usize) -> Self {
        Self { max, listed: 0, known: HashSet::new(), sources: Vec::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.sources.len() >= self.max
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The next result. One without a title, without an address of the web, or that is there already is left out.
    pub(super) fn add(&mut self, title: Option<&str>, url: Option<&str>) {
        self.listed += 1;
        let (Some(title), Some(url)) = (title, url.and_then(canonical)) else { return };
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        if title.is_empty() || self.is_full() || !self.known.insert(url.clone()) {
            return;
        }
        self.sources.push(Source {
            n: u32::try_from(self.sources.len() + 1).unwrap_or(u32::MAX),
            title: title.chars().take(MAX_TITLE_CHARS).collect(),
            location: Location::Url(url),
            passages: Vec::new(),
            found_by: Vec::new(),
            sha256: None,
        });
    }

    /// What `provider` found in the body of text that people call `name`.
    pub(super) fn found(mut self, provider: &str, name: String) -> Findings {
        for source in &mut self.sources {
            source.found_by = vec![provider.to_owned()];
        }
        let searched = Searched { provider: provider.to_owned(), name, documents: self.listed, passages: 0 };
        Findings { searched, sources: self.sources, skipped: Vec::new(), skipped_total: 0 }
    }
}
