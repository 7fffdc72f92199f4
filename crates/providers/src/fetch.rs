//! Reads pages of the web, and only of the web.
//!
//! What a page says decides where the next request goes: a link, a redirect, a name that its owner points anywhere. So
//! every request passes the [`guard`] first, every name is resolved by it, robots.txt is obeyed, hosts are left in
//! peace between requests, and whatever comes back is bounded in bytes and in time.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::address::canonical;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::{Fetch, Fetched};
use quillwork_app::ports::provider::ProviderError;
use reqwest::header::{HeaderMap, LOCATION};
use tokio::time::Instant;
use url::Url;

use crate::fetch::extract::{Body, Extractor};
use crate::fetch::robots::Robots;
use crate::fetch::setback::Setback;
use crate::fetch::status::{Verdict, judge};
use crate::fetch::web::{Answer, Budget, Web};

mod body;
mod config;
mod extract;
mod guard;
mod media_type;
mod politeness;
mod robots;
mod setback;
mod status;
mod web;

pub use config::{FetchConfig, FetchConfigError};
pub use guard::{Lookup, system_lookup};

/// So often a page may send us on.
const REDIRECTS: usize = 5;

/// Reads pages over HTTP; cheap to clone.
#[derive(Clone)]
pub struct WebFetcher {
    web: Arc<Web>,
    robots: Robots,
    extractor: Extractor,
}

impl WebFetcher {
    /// A fetcher that finds hosts as the system does.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn new(config: FetchConfig) -> Result<Self, FetchConfigError> {
        Self::with_lookup(config, system_lookup())
    }

    /// A fetcher that finds hosts by `lookup`. Its answers are checked like those of the system.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn with_lookup(config: FetchConfig, lookup: Lookup) -> Result<Self, FetchConfigError> {
        let robots = Robots::new(config.product());
        let extractor = Extractor::new(config.product());
        let web = Arc::new(Web::new(config, lookup)?);
        Ok(Self { web, robots, extractor })
    }

    /// What decides its answers besides the address, for a cache: how much is read, and who may be reached.
    ///
    /// Who asks makes no difference.
    pub fn scope(&self) -> String {
        let FetchConfig { max_bytes, allow_private_hosts, extra_ports, .. } = &self.web.config;
        let hosts: BTreeSet<_> = allow_private_hosts.iter().collect();
        let ports: BTreeSet<_> = extra_ports.iter().collect();
        format!("{max_bytes} {hosts:?} {ports:?}")
    }

    /// Follows redirects to the page, and reads it.
    async fn read(&self, start: &Url, call: &Call) -> Result<Body, Setback> {
        let mut url = start.clone();
        let mut budget = Budget::new(self.web.config.timeout);
        for _ in 0..=REDIRECTS {
            let answer = self.ask(&url, &mut budget, call.deadline.into()).await?;
            match judge(answer.status(), answer.headers(), &url) {
                Verdict::Here => return self.take(answer, url).await,
                Verdict::Elsewhere => url = redirect(&url, answer.headers())?,
                Verdict::Setback(setback) => return Err(setback),
            }
        }
        Err(Setback::skip(format!("{start} redirects more than {REDIRECTS} times")))
    }

    async fn ask(&self, url: &Url, budget: &mut Budget, latest: Instant) -> Result<Answer, Setback> {
        // Before robots.txt, which lies on the same host.
        self.web.guard.check(url).map_err(Setback::Barred)?;
        let rules = self.robots.rules(&self.web, url).await?;
        let delay = rules.check(url)?;
        self.web.ask(url, delay, budget, latest).await
    }

    async fn take(&self, answer: Answer, url: Url) -> Result<Body, Setback> {
        let max = self.web.config.max_bytes;
        let media_type = media_type::readable(answer.headers(), &url).map_err(Setback::Skip)?;
        let too_big =
            || Setback::skip(format!("{url} is larger than {max} bytes; raise `fetch.max_bytes` to read it"));
        if answer.announces() > max as u64 {
            return Err(too_big());
        }
        let follow = !extract::forbids_following(answer.headers(), &self.web.config.product());
        let (bytes, complete) = answer.body(&url, max).await?;
        if !complete {
            return Err(too_big());
        }
        Ok(Body { url, bytes, media_type, follow })
    }
}

#[async_trait]
impl Fetch for WebFetcher {
    async fn fetch(&self, url: &str, call: &Call) -> Result<Fetched, ProviderError> {
        let url = match self.web.guard.parse(url) {
            Ok(url) => url,
            Err(reason) => return Ok(Fetched::Skipped(reason)),
        };
        // Once: trying again is for the guard.
        let work = async {
            match self.read(&url, call).await {
                Ok(body) => Ok(self.extractor.extract(body).await),
                Err(Setback::Skip(reason) | Setback::Barred(reason)) => Ok(Fetched::Skipped(reason)),
                Err(Setback::Fail(error)) => Err(error),
            }
        };
        call.limit(&format!("reading {url}"), work).await
    }
}

/// Where a page sends us.
fn redirect(url: &Url, headers: &HeaderMap) -> Result<Url, Setback> {
    let location = headers.get(LOCATION).and_then(|location| std::str::from_utf8(location.as_bytes()).ok());
    let Some(mut next) = location.and_then(|location| url.join(location).ok()) else {
        return Err(Setback::skip(format!("{url} redirects, and does not say where to")));
    };
    next.set_fragment(None);
    Ok(next)
}

/// The form by which the page is known.
fn name_of(url: &Url) -> String {
    canonical(url.as_str()).unwrap_or_else(|| url.to_string())
}
