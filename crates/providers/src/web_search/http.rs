//! Requests to the address that the operator gave, and what their failures mean.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::ProviderError;
use quillwork_domain::job::ErrorClass;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};
use serde_json::Value;

use crate::http_client::{HttpClient, innermost};
use crate::secret::Secret;
use crate::web_search::InvalidSettings;

/// A list of results is much smaller.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// So much of an answer that is not understood is shown.
const MAX_EXCERPT_CHARS: usize = 200;

/// The client of one provider.
pub(super) struct Http {
    client: HttpClient,
    /// For errors: `Brave Search at api.search.brave.com`.
    label: String,
    timeout: Duration,
    /// Taken out of whatever the provider says.
    key: Option<Secret>,
}

/// An answer that was read to its end.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The address in the settings. What is wrong is not repeated: it may hold a password or a key.
pub(super) fn base_url(text: &str) -> Result<Url, InvalidSettings> {
    let url = Url::parse(text).map_err(|error| InvalidSettings(format!("`url` is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        let wrong = "`url` is not an address of HTTP: it begins with http:// or https://";
        return Err(InvalidSettings(wrong.to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidSettings("`url` must not hold a user or a password".to_owned()));
    }
    Ok(url)
}

/// Host, and port if it is not the usual one.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Http {
    /// The name of the provider is for people.
    pub(super) fn new(
        provider: &str,
        base: &Url,
        user_agent: &str,
        timeout: Duration,
    ) -> Result<Self, InvalidSettings> {
        let builder = || {
            Client::builder()
                .user_agent(user_agent)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(timeout)
                // The key goes to the host that the operator named, and to no other.
                .redirect(redirect::Policy::none())
        };
        let client = HttpClient::new(builder)
            .map_err(|error| InvalidSettings(format!("{provider} cannot be used: {}", innermost(&error))))?;
        Ok(Self { client, label: format!("{provider} at {}", authority(base)), timeout, key: None })
    }

    /// For a provider that is sent this key.
    pub(super) fn hiding(mut self, key: Secret) -> Self {
        self.key = Some(key);
        self
    }

    /// The beginning of what the provider says, on one line.
    pub(super) fn excerpt(&self, text: &str) -> String {
        // Before it is cut: half a key is too much.
        let text = self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text));
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(MAX_EXCERPT_CHARS).collect()
    }

    /// The beginning of the body.
    pub(super) fn body(&self, reply: &Reply) -> String {
        self.excerpt(&String::from_utf8_lossy(&reply.body))
    }

    /// A request to `url`, not sent yet.
    pub(super) fn get(&self, url: Url) -> Result<RequestBuilder, ProviderError> {
        let client = self
            .client
            .at(&url)
            .map_err(|error| ProviderError::permanent(format!("{} cannot be asked: {error}", self.label)))?;
        Ok(client.get(url))
    }

    /// Sends the request and reads the answer, whatever its status.
    pub(super) async fn send(&self, request: RequestBuilder, call: &Call) -> Result<Reply, ProviderError> {
        let what = format!("the search by {}", self.label);
        call.limit(&what, async {
            let mut response = request.send().await.map_err(|error| self.failed(error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut body = BytesMut::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(error))? {
                if body.len() + chunk.len() > MAX_BODY_BYTES {
                    return Err(ProviderError::permanent(format!(
                        "{} sent more than {MAX_BODY_BYTES} bytes, which is no list of results; check its `url`",
                        self.label
                    )));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Reply { status, headers, body: body.freeze() })
        })
        .await
    }

    /// The body as JSON.
    pub(super) fn json(&self, reply: &Reply) -> Result<Value, ProviderError> {
        serde_json::from_slice(&reply.body).map_err(|error| {
            let is_json = reply.header("content-type").is_some_and(|kind| kind.contains("json"));
            if is_json {
                // Most likely cut on its way.
                ProviderError::transient(format!(
                    "{} sent JSON that ends early or is damaged: {error}",
                    self.label
                ))
            } else {
                ProviderError::permanent(format!(
                    "{} did not answer with JSON but with {:?}; check its `url`",
                    self.label,
                    self.body(reply)
                ))
            }
        })
    }

    /// An error of this provider.
    pub(super) fn error(
        &self,
        class: ErrorClass,
        what: &str,
        retry_after: Option<Duration>,
    ) -> ProviderError {
        ProviderError { class, message: format!("{} {what}", self.label), retry_after }
    }

    /// What a status that is no success means where the provider has no meaning of its own for it. `detail` is what the
    /// provider says.
    pub(super) fn refused(&self, reply: &Reply, detail: &str) -> ProviderError {
        let status = reply.status;
        let detail = if detail.is_empty() { self.body(reply) } else { detail.to_owned() };
        let said = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        if status.is_redirection() {
            let to = self.excerpt(reply.header(LOCATION.as_str()).unwrap_or("nowhere"));
            let what =
                format!("sends elsewhere ({status}, to {to:?}), which is not followed; check its `url`");
            return self.error(ErrorClass::Permanent, &what, None);
        }
        let class = match status.as_u16() {
            429 => ErrorClass::RateLimited,
            402 => ErrorClass::Quota,
            408 | 425 => ErrorClass::Transient,
            500..=599 if status != StatusCode::NOT_IMPLEMENTED => ErrorClass::Transient,
            _ => ErrorClass::Permanent,
        };
        self.error(class, &format!("answered {status}{said}"), reply.retry_after())
    }

    fn failed(&self, error: reqwest::Error) -> ProviderError {
        let error = error.without_url();
        if error.is_builder() {
            return ProviderError::permanent(format!(
                "{} cannot be asked: {}",
                self.label,
                innermost(&error)
            ));
        }
        ProviderError::transient(if error.is_timeout() {
            format!("{} did not answer within {:?}", self.label, self.timeout)
        } else if error.is_connect() {
            format!("{} cannot be reached: {}", self.label, innermost(&error))
        } else {
            format!("the connection to {} broke off: {}", self.label, innermost(&error))
        })
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long to stay away: seconds, or a date.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let text = self.header(RETRY_AFTER.as_str())?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = httpdate::parse_http_date(text).ok()?;
        Some(until.duration_since(SystemTime::now()).unwrap_or_default())
    }
}
