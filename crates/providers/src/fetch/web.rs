//! One request and its answer: through the guard, in turn, and within the time that the page has.

use std::error::Error;
use std::time::Duration;

use quillwork_app::ports::provider::ProviderError;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect, retry};
use tokio::time::Instant;
use url::Url;

use crate::fetch::body;
use crate::fetch::config::{FetchConfig, FetchConfigError};
use crate::fetch::guard::{Guard, Lookup, Names, NotPublic, Reach, not_public};
use crate::fetch::politeness::{Hosts, Turn};
use crate::fetch::setback::Setback;
use crate::http_client::HttpClient;

const READ: &str = "text/html,application/xhtml+xml,text/markdown;q=0.9,text/plain;q=0.8";

pub(super) struct Web {
    pub(super) config: FetchConfig,
    pub(super) guard: Guard,
    hosts: Hosts,
    /// For [`Reach::Public`]. Two clients, since a client resolves names without knowing the port they are wanted for.
    public: HttpClient,
    /// For [`Reach::Allowed`].
    allowed: HttpClient,
}

impl Web {
    pub(super) fn new(config: FetchConfig, lookup: Lookup) -> Result<Self, FetchConfigError> {
        let guard = Guard::new(&config.allow_private_hosts, &config.extra_ports)?;
        let public = client(&config, Names { lookup: lookup.clone(), reach: Reach::Public })?;
        let allowed = client(&config, Names { lookup, reach: Reach::Allowed })?;
        let hosts = Hosts::new(config.per_host);
        Ok(Self { config, guard, hosts, public, allowed })
    }

    /// Sends one request when its host may be asked; it may be asked again after `delay`.
    pub(super) async fn ask(
        &self,
        url: &Url,
        delay: Duration,
        budget: &mut Budget,
        latest: Instant,
    ) -> Result<Answer, Setback> {
        let client = match self.guard.check(url).map_err(Setback::Barred)? {
            Reach::Public => &self.public,
            Reach::Allowed => &self.allowed,
        };
        // The page can be had, from another machine.
        let client = client.at(url).map_err(|error| {
            Setback::Fail(ProviderError::permanent(format!("{url} cannot be read: {error}")))
        })?;
        let turn = self.hosts.turn(url.host_str().unwrap_or_default(), delay, latest).await?;
        let left = budget.left;
        let started = Instant::now();
        // The limit holds to the end of the body.
        let sent = client.get(url.clone()).timeout(left).send().await;
        budget.left = left.saturating_sub(started.elapsed());
        let response = sent.map_err(|error| broken(&error, url))?;
        Ok(Answer { response, turn })
    }
}

fn client(config: &FetchConfig, names: Names) -> Result<HttpClient, FetchConfigError> {
    let user_agent = config.header()?;
    let headers = HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_static(READ)),
        (ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
    ]);
    HttpClient::new(|| {
        Client::builder()
            .user_agent(&user_agent)
            .default_headers(headers.clone())
            .dns_resolver(names.clone())
            // A proxy would resolve names by itself.
            .no_proxy()
            // Each hop is a request of its own here, with its own checks.
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(config.per_host)
            .pool_idle_timeout(Duration::from_secs(30))
    })
    .map_err(FetchConfigError::Client)
}

/// What a page has left of its time on the network.
pub(super) struct Budget {
    left: Duration,
}

impl Budget {
    pub(super) fn new(time: Duration) -> Self {
        Self { left: time }
    }
}

/// An answer whose body has not been read. Its host counts as busy until it is gone.
pub(super) struct Answer {
    response: Response,
    turn: Turn,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The size of the body on the wire, if the server says it, or 0.
    pub(super) fn announces(&self) -> u64 {
        self.response.content_length().unwrap_or_default()
    }

    /// The first `max` bytes of the body, and whether they are all.
    pub(super) async fn body(self, url: &Url, max: usize) -> Result<(Vec<u8>, bool), Setback> {
        let _turn = self.turn;
        body::take(self.response, url, max).await
    }
}

/// What an error of the client means for the page.
pub(super) fn broken(error: &reqwest::Error, url: &Url) -> Setback {
    if find::<NotPublic>(error).is_some() {
        return Setback::Barred(not_public(url));
    }
    if error.is_timeout() {
        return Setback::passing(format!("{url} did not answer in time; it is slow, or not there"));
    }
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse_too_large() => {
            Setback::skip(format!("{url} answers with larger headers than are read"))
        }
        Some(error) if error.is_parse() => Setback::skip(format!("{url} does not answer in HTTP: {error}")),
        Some(_) | None => Setback::passing(format!("cannot read {url}: {}", innermost(error))),
    }
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    match error.downcast_ref() {
        Some(found) => Some(found),
        None => find(error.source()?),
    }
}

/// The cause behind all others; the ones before only say what was being done.
fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
