//! Wikipedia, or another wiki that runs MediaWiki.

use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::{Progress, ProviderError};
use quillwork_app::ports::search::{Findings, Query, Search};
use quillwork_domain::job::ErrorClass;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::web_search::InvalidSettings;
use crate::web_search::http::{Http, Reply, authority, base_url};
use crate::web_search::results::{Results, wanted};

/// What the API gives at most.
const MAX_RESULTS: usize = 50;

/// The search refuses more.
const MAX_TOPIC_CHARS: usize = 300;

/// Under more lag than this many seconds the servers have better things to do.
const MAX_LAG: &str = "5";

/// Which wiki, and who asks.
#[derive(Clone, Debug)]
pub struct WikipediaConfig {
    /// The name that the provider has in the configuration.
    pub name: String,
    /// The part of the host before `.wikipedia.org`.
    pub language: String,
    /// How the wiki's operators can reach ours: an e-mail address or the URL of a page. Wikipedia refuses who does not
    /// say it.
    pub contact: String,
    /// The whole address of another `api.php`.
    pub base_url: Option<String>,
    /// What the wiki's texts may be used under.
    pub licence: String,
    /// For one request.
    pub timeout: Duration,
}

impl WikipediaConfig {
    /// The English Wikipedia, asked by whoever is reached at `contact`.
    pub fn new(contact: impl Into<String>) -> Self {
        Self {
            name: "wikipedia".into(),
            language: "en".into(),
            contact: contact.into(),
            base_url: None,
            licence: "CC BY-SA 4.0".into(),
            timeout: Duration::from_secs(15),
        }
    }
}

/// Finds articles of one wiki. Asks it one thing at a time, as its operators want.
pub struct Wikipedia {
    name: String,
    /// For people: the host and the licence.
    body: String,
    api: Url,
    http: Http,
    turn: Mutex<()>,
}

impl Wikipedia {
    pub fn new(config: WikipediaConfig) -> Result<Self, InvalidSettings> {
        let contact = config.contact.trim();
        let is_header = contact.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        if !is_header || !(contact.contains('@') || contact.contains("://")) {
            return Err(InvalidSettings(
                "`fetch.contact` must be an e-mail address or a URL: Wikipedia refuses who cannot be reached"
                    .to_owned(),
            ));
        }
        let is_language = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if config.language.is_empty() || !config.language.chars().all(is_language) {
            let language = &config.language;
            return Err(InvalidSettings(format!(
                "`language` {language:?} is not one like \"en\" or \"simple\""
            )));
        }
        let default = format!("https://{}.wikipedia.org/w/api.php", config.language);
        let api = base_url(config.base_url.as_deref().unwrap_or(&default))?;
        let user_agent = format!("Quillwork/{} ({contact})", env!("CARGO_PKG_VERSION"));
        let http = Http::new("Wikipedia", &api, &user_agent, config.timeout)?;
        let body = format!("{} ({})", authority(&api), config.licence);
        Ok(Self { name: config.name, body, api, http, turn: Mutex::new(()) })
    }

    /// What decides its answers besides the query, for a cache.
    pub fn scope(&self) -> String {
        self.api.to_string()
    }

    fn url(&self, query: &Query) -> Url {
        let topic: String = query.topic.chars().take(MAX_TOPIC_CHARS).collect();
        let limit = wanted(query).clamp(1, MAX_RESULTS).to_string();
        let mut url = self.api.clone();
        url.query_pairs_mut().extend_pairs([
            ("action", "query"),
            ("format", "json"),
            ("formatversion", "2"),
            ("generator", "search"),
            ("gsrsearch", &topic),
            ("gsrlimit", &limit),
            ("gsrnamespace", "0"),
            ("prop", "info|pageprops"),
            ("inprop", "url"),
            ("ppprop", "disambiguation"),
            ("maxlag", MAX_LAG),
        ]);
        url
    }

    /// Errors come with every status, most with success.
    fn check(&self, reply: &Reply, body: &Result<Value, ProviderError>) -> Result<(), ProviderError> {
        let told = body.as_ref().ok().map(|body| &body["error"]);
        let code =
            told.and_then(|error| error["code"].as_str()).or_else(|| reply.header("MediaWiki-API-Error"));
        let info = told
            .and_then(|error| error["info"].as_str())
            .map(|info| self.http.excerpt(info))
            .unwrap_or_default();
        let Some(code) = code else {
            return match reply.status {
                status if status.is_success() => Ok(()),
                StatusCode::FORBIDDEN => Err(self.http.error(
                    ErrorClass::Permanent,
                    &format!(
                        "refuses to be asked by us ({}): {}; check that `fetch.contact` says who you are",
                        reply.status,
                        self.http.body(reply)
                    ),
                    None,
                )),
                _ => Err(self.http.refused(reply, "")),
            };
        };
        let class = match code {
            "maxlag" | "ratelimited" => ErrorClass::RateLimited,
            "readonly" | "cirrussearch-too-busy-error" | "cirrussearch-backend-error" => {
                ErrorClass::Transient
            }
            _ if code.starts_with("internal_api_error_") => ErrorClass::Transient,
            _ => ErrorClass::Permanent,
        };
        let what = format!("answered with the error {:?}: {info}", self.http.excerpt(code));
        Err(self.http.error(class, &what, reply.retry_after()))
    }
}

#[async_trait]
impl Search for Wikipedia {
    fn name(&self) -> &str {
        &self.name
    }

    async fn search(
        &self,
        query: &Query,
        call: &Call,
        _progress: &dyn Progress,
    ) -> Result<Findings, ProviderError> {
        let turn = call.limit("waiting for Wikipedia", async { Ok(self.turn.lock().await) }).await?;
        let reply = self.http.send(self.http.get(self.url(query))?, call).await?;
        drop(turn);
        let body = self.http.json(&reply);
        self.check(&reply, &body)?;
        // Without anything found there is no query.
        let mut pages = body?["query"]["pages"].as_array().cloned().unwrap_or_default();
        pages.sort_by_key(|page| page["index"].as_u64().unwrap_or(u64::MAX));
        let mut results = Results::new(wanted(query).min(MAX_RESULTS));
        for page in &pages {
            // A list of what a word may mean says nothing about any of it.
            if page["pageprops"].get("disambiguation").is_none() {
                let url = page["fullurl"].as_str().or_else(|| page["canonicalurl"].as_str());
                results.add(page["title"].as_str(), url);
            }
        }
        Ok(results.found(&self.name, self.body.clone()))
    }
}
