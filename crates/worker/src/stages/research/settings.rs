//! `settings.research`

use std::collections::HashSet;

use quillwork_app::address::{LONGEST, canonical};
use quillwork_app::ports::call::CacheUse;
use quillwork_app::ports::search::{Location, Source};
use serde::Deserialize;

use super::choose::GIVEN;
use crate::stages::within;

/// Given pages at most.
const MAX_URLS: usize = 100;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::stages) struct Settings {
    /// At most this many documents, 1 to 50.
    pub(super) max_sources: usize,
    /// At most this many passages of one document, 1 to 100.
    pub(super) max_passages: usize,
    /// Fewer documents than this fail the job.
    pub(super) min_sources: usize,
    /// The searches to ask; absent for the configured ones, or for none if pages or a site are given.
    pub(super) search: Option<Vec<String>>,
    /// Pages to read.
    pub(super) urls: Vec<String>,
    /// A site to read.
    pub(super) site: Option<Site>,
    /// Whether answers from before will do.
    pub(super) cache: CacheUse,
}

/// Pages that are reached from a first one, on the same host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    pub(super) url: String,
    /// Links that are followed one after the other, 0 to 10.
    #[serde(default = "depth")]
    pub(super) depth: usize,
    /// Pages at most, 1 to 1000.
    #[serde(default = "pages")]
    pub(super) pages: usize,
}

fn depth() -> usize {
    2
}

fn pages() -> usize {
    50
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_sources: 6,
            max_passages: 12,
            min_sources: 1,
            search: None,
            urls: vec![],
            site: None,
            cache: CacheUse::Use,
        }
    }
}

impl Settings {
    /// Checks what types do not; `searches` are those that the configuration has.
    pub(in crate::stages) fn check(&self, searches: &[String]) -> Result<(), String> {
        let mut ranges = vec![
            ("max_sources", self.max_sources, 1..=50),
            ("max_passages", self.max_passages, 1..=100),
            ("min_sources", self.min_sources, 1..=self.max_sources.max(1)),
            ("urls", self.urls.len(), 0..=MAX_URLS),
        ];
        if let Some(site) = &self.site {
            ranges.push(("site.depth", site.depth, 0..=10));
            ranges.push(("site.pages", site.pages, 1..=1_000));
            check_url("site.url", &site.url)?;
        }
        for (name, value, range) in ranges {
            within(name, value, range)?;
        }
        for (n, url) in self.urls.iter().enumerate() {
            check_url(&format!("urls[{n}]"), url)?;
        }
        let named = self.search.iter().flatten();
        if let Some(unknown) = named.into_iter().find(|name| !searches.contains(name)) {
            return Err(format!(
                "search: there is no search {unknown:?}; the searches are: {}",
                searches.join(", ")
            ));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.search.iter().flatten().find(|name| !seen.insert(*name)) {
            return Err(format!("search: {twice:?} stands there twice"));
        }
        if self.search.as_ref().is_some_and(Vec::is_empty) && self.urls.is_empty() && self.site.is_none() {
            return Err("search: an empty list leaves nothing to read; name a search, urls or a site".into());
        }
        Ok(())
    }

    /// The searches that the job asks.
    pub(super) fn searches<'a>(&'a self, default: &'a [String]) -> &'a [String] {
        match &self.search {
            Some(names) => names,
            None if self.urls.is_empty() && self.site.is_none() => default,
            None => &[],
        }
    }

    /// The given pages as if a search had found them.
    pub(super) fn given(&self) -> Vec<Source> {
        let source = |url: &String| Source {
            n: 0,
            title: url.clone(),
            location: Location::Url(url.clone()),
            passages: vec![],
            found_by: vec![GIVEN.to_owned()],
            sha256: None,
        };
        self.urls.iter().map(source).collect()
    }
}

/// The address is not repeated: it may hold a password.
fn check_url(name: &str, url: &str) -> Result<(), String> {
    match canonical(url) {
        Some(_) => Ok(()),
        None => Err(format!(
            "{name}: expected an http or https address of at most {LONGEST} bytes, without user and password"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<(), String> {
        serde_json::from_str::<Settings>(json).unwrap().check(&["corpus".to_owned(), "web".to_owned()])
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let cases = [
            (r#"{"max_sources": 0}"#, "max_sources: expected 1 to 50, got 0"),
            (
                r#"{"search": ["web", "nope"]}"#,
                "search: there is no search \"nope\"; the searches are: corpus, web",
            ),
            (r#"{"search": ["web", "corpus", "web"]}"#, "search: \"web\" stands there twice"),
            (
                r#"{"search": []}"#,
                "search: an empty list leaves nothing to read; name a search, urls or a site",
            ),
            (r#"{"urls": ["https://a.org", "ftp://a.org"]}"#, "urls[1]: expected an http or https address"),
            (r#"{"urls": ["https://ann:sesame@a.org"]}"#, "urls[0]: expected an http or https address"),
            (r#"{"site": {"url": "a.org"}}"#, "site.url: expected an http or https address"),
            (
                r#"{"site": {"url": "https://a.org", "pages": 1001}}"#,
                "site.pages: expected 1 to 1000, got 1001",
            ),
        ];
        for (json, expected) in cases {
            let error = check(json).unwrap_err();
            assert!(error.starts_with(expected) && !error.contains("sesame"), "{json}: {error}");
        }
        assert_eq!(check(r#"{"search": [], "urls": ["https://a.org/b?c=d"]}"#), Ok(()));
    }
}
