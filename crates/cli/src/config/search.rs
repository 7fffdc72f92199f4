//! Where research searches.

use std::collections::{BTreeMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::secret::{Key, shown};
use crate::config::settings::some_positive;
use crate::config::{Frequency, Settings};

/// The search of the corpus. It is always there.
pub(crate) const CORPUS: &str = "corpus";

/// What research does for jobs that say nothing about it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResearchSettings {
    /// The searches that are asked: `corpus`, and names of `[search.<name>]`.
    pub(crate) search: Vec<String>,
}

impl Default for ResearchSettings {
    fn default() -> Self {
        Self { search: vec![CORPUS.to_owned()] }
    }
}

/// A search of the web.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SearchSettings {
    /// What answers; absent for what the name says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<SearchKind>,
    /// Its address: that of your instance of SearXNG, or of a stand-in for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The key of Brave.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    #[schemars(with = "String")]
    pub(crate) key: Option<Key>,
    /// For example `en`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) language: Option<String>,
    /// Requests at once in this process; absent for 10, and 1 for Wikipedia.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_positive")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) concurrency: Option<u32>,
    /// Requests per time in all processes that share a Redis; absent for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Frequency")]
    pub(crate) rate: Option<Frequency>,
    /// How many may be made at once after a rest.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_positive")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) burst: Option<u32>,
}

/// What answers a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SearchKind {
    Wikipedia,
    Searxng,
    Brave,
}

impl SearchSettings {
    /// What answers the search called `name`.
    pub(crate) fn kind(&self, name: &str) -> Option<SearchKind> {
        self.kind.or(match name {
            "wikipedia" => Some(SearchKind::Wikipedia),
            "searxng" => Some(SearchKind::Searxng),
            "brave" => Some(SearchKind::Brave),
            _ => None,
        })
    }

    /// Checks what shows only when all layers are together; an error names the member.
    fn check(&self, name: &str) -> Result<(), (&'static str, String)> {
        match self.kind(name) {
            None => return Err(("kind", "expected wikipedia, searxng or brave".to_owned())),
            Some(SearchKind::Searxng) if self.url.is_none() => {
                return Err(("url", "expected the address of your instance of SearXNG".to_owned()));
            }
            Some(SearchKind::Brave) if self.key.is_none() => {
                let variable = format!("QUILLWORK_SEARCH__{}__KEY", name.to_uppercase());
                return Err(("key", format!("expected the key of your account, for example in {variable}")));
            }
            Some(SearchKind::Wikipedia | SearchKind::Searxng | SearchKind::Brave) => {}
        }
        Frequency::rate(self.rate, self.burst).map(|_| ())
    }
}

impl Settings {
    /// The names of all searches.
    pub(crate) fn searches(&self) -> Vec<String> {
        [CORPUS.to_owned()].into_iter().chain(self.search.keys().cloned()).collect()
    }

    /// Checks the searches; an error names the key.
    pub(super) fn check_searches(&self) -> Result<(), (String, String)> {
        for (name, search) in &self.search {
            search.check(name).map_err(|(member, reason)| (format!("search.{name}.{member}"), reason))?;
        }
        if self.search.contains_key(CORPUS) {
            return Err((
                "search.corpus".to_owned(),
                "the search called corpus is that of the corpus".to_owned(),
            ));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.research.search.iter().find(|name| !seen.insert(*name)) {
            return Err(("research.search".to_owned(), format!("{twice:?} stands there twice")));
        }
        let known = self.searches();
        match self.research.search.iter().find(|name| !known.contains(name)) {
            None => Ok(()),
            Some(name) => Err((
                "research.search".to_owned(),
                format!("there is no search {name:?}; the searches are: {}", known.join(", ")),
            )),
        }
    }
}

/// By name.
pub(crate) type Searches = BTreeMap<String, SearchSettings>;
