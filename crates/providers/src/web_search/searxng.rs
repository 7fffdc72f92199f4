//! SearXNG: a search of one's own that asks others.

use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::{Progress, ProviderError};
use quillwork_app::ports::search::{Findings, Query, Search};
use quillwork_domain::job::ErrorClass;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use crate::web_search::InvalidSettings;
use crate::web_search::http::{Http, authority, base_url};
use crate::web_search::results::{Results, wanted};

/// A page has about 20 results, and there is no way to ask for more of them.
const MAX_PAGES: usize = 3;

/// More than this is no topic.
const MAX_TOPIC_CHARS: usize = 400;

/// Where the instance is, and what it is asked.
#[derive(Clone, Debug)]
pub struct SearxngConfig {
    /// The name that the provider has in the configuration.
    pub name: String,
    /// Where the instance is, without `/search`.
    pub base_url: String,
    /// For example `en`, or `all`.
    pub language: String,
    pub safe_search: SafeSearch,
    /// For one request.
    pub timeout: Duration,
}

/// How much is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SafeSearch {
    Off,
    Moderate,
    Strict,
}

impl Default for SearxngConfig {
    fn default() -> Self {
        Self {
            name: "searxng".into(),
            base_url: "http://127.0.0.1:8080".into(),
            language: "en".into(),
            safe_search: SafeSearch::Moderate,
            timeout: Duration::from_secs(20),
        }
    }
}

/// Finds pages through one instance.
pub struct Searxng {
    name: String,
    /// For people.
    body: String,
    search: Url,
    http: Http,
}

impl Searxng {
    pub fn new(config: SearxngConfig) -> Result<Self, InvalidSettings> {
        let mut search = base_url(&config.base_url)?;
        search.set_query(None);
        search.set_path(&format!("{}/search", search.path().trim_end_matches('/')));
        let safe_search = match config.safe_search {
            SafeSearch::Off => "0",
            SafeSearch::Moderate => "1",
            SafeSearch::Strict => "2",
        };
        search.query_pairs_mut().extend_pairs([
            ("format", "json"),
            ("language", &config.language),
            ("safesearch", safe_search),
        ]);
        let user_agent = concat!("Quillwork/", env!("CARGO_PKG_VERSION"));
        let http = Http::new("SearXNG", &search, user_agent, config.timeout)?;
        let body = format!("the web, through SearXNG at {}", authority(&search));
        Ok(Self { name: config.name, body, search, http })
    }

    /// What decides its answers besides the query, for a cache.
    pub fn scope(&self) -> String {
        self.search.to_string()
    }

    async fn page(&self, topic: &str, page: usize, call: &Call) -> Result<Value, ProviderError> {
        let mut url = self.search.clone();
        url.query_pairs_mut().extend_pairs([("q", topic), ("pageno", &page.to_string())]);
        let reply = self.http.send(self.http.get(url)?, call).await?;
        if reply.status == StatusCode::FORBIDDEN {
            let hint = "answered 403 Forbidden: most likely JSON is not enabled; add \"json\" to search.formats in its \
                        settings.yml";
            return Err(self.http.error(ErrorClass::Permanent, hint, None));
        }
        if !reply.status.is_success() {
            return Err(self.http.refused(&reply, ""));
        }
        let body = self.http.json(&reply)?;
        if !body["results"].is_array() {
            let what = "answered with JSON that is no list of results; check its `url`";
            return Err(self.http.error(ErrorClass::Permanent, what, None));
        }
        Ok(body)
    }
}

#[async_trait]
impl Search for Searxng {
    fn name(&self) -> &str {
        &self.name
    }

    async fn search(
        &self,
        query: &Query,
        call: &Call,
        progress: &dyn Progress,
    ) -> Result<Findings, ProviderError> {
        let topic = plain_words(&query.topic);
        let mut results = Results::new(wanted(query));
        for number in 1..=MAX_PAGES {
            let page = match self.page(&topic, number, call).await {
                Ok(page) => page,
                // Something was found, which is better than nothing.
                Err(error) if !results.is_empty() => {
                    tracing::debug!(%error, page = number, "a further page of results is left out");
                    break;
                }
                Err(error) => return Err(error),
            };
            let listed = page["results"].as_array().map(Vec::as_slice).unwrap_or_default();
            for result in listed {
                results.add(result["title"].as_str(), result["url"].as_str());
            }
            if listed.is_empty() && number == 1 {
                self.nothing_listed(&page)?;
            }
            if listed.is_empty() || results.is_full() || progress.cancelled() {
                break;
            }
        }
        Ok(results.found(&self.name, self.body.clone()))
    }
}

impl Searxng {
    /// Nothing to be found, or nobody who looked.
    fn nothing_listed(&self, page: &Value) -> Result<(), ProviderError> {
        let silent = page["unresponsive_engines"].as_array().map(Vec::as_slice).unwrap_or_default();
        if silent.is_empty() {
            return Ok(());
        }
        let name = |engine: &Value| {
            let name = engine.as_str().or_else(|| engine[0].as_str()).unwrap_or("one without a name");
            engine[1].as_str().map_or_else(|| name.to_owned(), |reason| format!("{name} ({reason})"))
        };
        let names: Vec<String> = silent.iter().map(name).collect();
        let what = format!(
            "found nothing, and these engines did not answer it: {}",
            self.http.excerpt(&names.join(", "))
        );
        Err(self.http.error(ErrorClass::Transient, &what, None))
    }
}

/// The topic without what SearXNG takes for commands: `!engine`, `:language`, `<timeout`, `?`.
fn plain_words(topic: &str) -> String {
    let words = topic.split_whitespace().map(|word| word.trim_start_matches(['!', ':', '<', '?']));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MAX_TOPIC_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_hold_no_commands() {
        assert_eq!(plain_words(" !!g C++ :de <3  is ! this?"), "g C++ de 3 is this?");
    }
}
