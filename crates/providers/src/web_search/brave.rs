//! Brave Search, with a key.

use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::{Progress, ProviderError};
use quillwork_app::ports::search::{Findings, Query, Search};
use quillwork_domain::job::ErrorClass;
use reqwest::Url;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use serde_json::Value;

use crate::secret::Secret;
use crate::web_search::InvalidSettings;
use crate::web_search::http::{Http, Reply, base_url};
use crate::web_search::results::{Results, wanted};

/// What one request gives at most. Each is paid for, so that there is one only.
const MAX_RESULTS: usize = 20;

/// The API refuses more.
const MAX_TOPIC_CHARS: usize = 400;
const MAX_TOPIC_WORDS: usize = 50;

/// What is used up for longer than this is a quota, and nothing to wait for.
const QUOTA: Duration = Duration::from_secs(3_600);

const KEY: HeaderName = HeaderName::from_static("x-subscription-token");

/// Who asks, and for what.
#[derive(Clone, Debug)]
pub struct BraveConfig {
    /// The name that the provider has in the configuration.
    pub name: String,
    pub key: Secret,
    /// The whole address of the web search.
    pub base_url: String,
    /// The language of the pages, for example `en`; any if absent.
    pub language: Option<String>,
    /// For one request.
    pub timeout: Duration,
}

impl BraveConfig {
    pub fn new(key: Secret) -> Self {
        Self {
            name: "brave".into(),
            key,
            base_url: "https://api.search.brave.com/res/v1/web/search".into(),
            language: None,
            timeout: Duration::from_secs(15),
        }
    }
}

/// Finds pages of the web.
pub struct Brave {
    name: String,
    search: Url,
    header: HeaderValue,
    http: Http,
}

impl Brave {
    pub fn new(config: BraveConfig) -> Result<Self, InvalidSettings> {
        if config.key.expose().is_empty() {
            return Err(InvalidSettings(
                "Brave Search needs a key; get one at https://brave.com/search/api".into(),
            ));
        }
        let mut header = HeaderValue::from_str(config.key.expose()).map_err(|_| {
            InvalidSettings("the key of Brave Search holds characters that no key has".into())
        })?;
        header.set_sensitive(true);
        let mut search = base_url(&config.base_url)?;
        if let Some(language) = &config.language {
            search.query_pairs_mut().append_pair("search_lang", language);
        }
        let user_agent = concat!("Quillwork/", env!("CARGO_PKG_VERSION"));
        let http = Http::new("Brave Search", &search, user_agent, config.timeout)?.hiding(config.key);
        Ok(Self { name: config.name, search, header, http })
    }

    /// What decides its answers besides the query, for a cache.
    pub fn scope(&self) -> String {
        self.search.to_string()
    }

    fn refused(&self, reply: &Reply) -> ProviderError {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let error = &body["error"];
        let texts = [error["code"].as_str(), error["detail"].as_str()];
        let told = texts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let detail = if told.is_empty() { self.http.body(reply) } else { self.http.excerpt(&told) };
        match reply.status.as_u16() {
            401 | 403 | 422 => {
                let what =
                    format!("refuses the request ({}): {detail}; check the key and its plan", reply.status);
                self.http.error(ErrorClass::Permanent, &what, None)
            }
            429 => {
                let used_up = used_up(reply);
                let is_quota = error["code"] == "QUOTA_LIMITED" || used_up.is_some_and(|wait| wait > QUOTA);
                let wait = used_up.or_else(|| reply.retry_after());
                if is_quota {
                    let what =
                        format!("has no requests left for this month: {detail}; raise the plan, or wait");
                    self.http.error(ErrorClass::Quota, &what, wait)
                } else {
                    let what = format!("is asked too often: {detail}");
                    self.http.error(ErrorClass::RateLimited, &what, wait)
                }
            }
            _ => self.http.refused(reply, &detail),
        }
    }
}

/// When there is something left in all windows, if one is used up. The headers list a second and a month: `1, 15000`.
fn used_up(reply: &Reply) -> Option<Duration> {
    let numbers = |name: &str| -> Vec<u64> {
        let list = reply.header(name).unwrap_or_default();
        list.split(',').filter_map(|number| number.trim().parse().ok()).collect()
    };
    let (limits, remaining, resets) =
        (numbers("x-ratelimit-limit"), numbers("x-ratelimit-remaining"), numbers("x-ratelimit-reset"));
    let windows = remaining.iter().zip(&resets).enumerate();
    // A plan without a limit says so with a limit of 0.
    let empty = windows.filter(|(index, (left, _))| **left == 0 && limits.get(*index) != Some(&0));
    empty.map(|(_, (_, reset))| Duration::from_secs(*reset)).max()
}

#[async_trait]
impl Search for Brave {
    fn name(&self) -> &str {
        &self.name
    }

    async fn search(
        &self,
        query: &Query,
        call: &Call,
        _progress: &dyn Progress,
    ) -> Result<Findings, ProviderError> {
        let words: Vec<&str> = query.topic.split_whitespace().take(MAX_TOPIC_WORDS).collect();
        let topic: String = words.join(" ").chars().take(MAX_TOPIC_CHARS).collect();
        let count = wanted(query).clamp(1, MAX_RESULTS);
        let mut url = self.search.clone();
        url.query_pairs_mut().extend_pairs([
            ("q", topic.as_str()),
            ("count", &count.to_string()),
            ("offset", "0"),
            ("result_filter", "web"),
        ]);
        let request = self.http.get(url)?;
        let request = request.header(ACCEPT, "application/json").header(KEY, self.header.clone());
        let reply = self.http.send(request, call).await?;
        if !reply.status.is_success() {
            return Err(self.refused(&reply));
        }
        let body = self.http.json(&reply)?;
        let mut results = Results::new(count);
        // Without anything found there is no web.
        for result in body["web"]["results"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let title = result["title"].as_str().map(plain);
            results.add(title.as_deref(), result["url"].as_str());
        }
        Ok(results.found(&self.name, "the web, through Brave Search".to_owned()))
    }
}

/// A title as text: what matches the query is marked in it.
fn plain(title: &str) -> String {
    let unmarked = title.replace("<strong>", "").replace("</strong>", "");
    html_escape::decode_html_entities(&unmarked).into_owned()
}
