//! One model behind one address.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use quillwork_app::ports::call::Call;
use quillwork_app::ports::model::{Completion, DraftSink, FailedCall, Finish, Prompt};
use quillwork_app::ports::provider::ProviderError;
use quillwork_app::ports::rate_limiter::RateLimiter;
use quillwork_domain::job::ErrorClass;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, redirect};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::answer::{Answer, Bill, MAX_TEXT_BYTES, short};
use super::config::{Dialect, EndpointConfig, InvalidEndpoint};
use super::piece::{End, Piece};
use super::price::Price;
use super::rate_state::RateState;
use super::refusal::Refusal;
use super::stream::{self, Broken};
use super::{anthropic, openai};
use crate::http_client::{HttpClient, innermost};
use crate::resilience::{Guard, Limits, ProviderMetrics, shortly, shown};

/// Of an error's body.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Of an answer that comes whole: its text, and what stands around it.
const MAX_BODY_BYTES: usize = 2 * MAX_TEXT_BYTES;

/// After the end of the text, for the token counts.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How much the newest latency counts in the average, in percent.
const NEWEST_PERCENT: u32 = 20;

pub(super) struct Endpoint {
    pub(super) config: EndpointConfig,
    pub(super) guard: Guard,
    pub(super) price: Option<Price>,
    client: HttpClient,
    url: Url,
    headers: HeaderMap,
    metrics: ProviderMetrics,
    state: Mutex<State>,
}

/// What is known from earlier calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) rate: RateState,
    /// To the first text, as a moving average.
    pub(super) latency: Option<Duration>,
    /// It refused the key, the address or the model's name.
    pub(super) is_misconfigured: bool,
}

/// An answer that has begun.
struct Opened {
    response: Response,
    start: Instant,
    request_id: Option<String>,
}

impl Endpoint {
    pub(super) fn new(
        config: EndpointConfig,
        price: Option<Price>,
        limiter: Arc<dyn RateLimiter>,
        metrics: ProviderMetrics,
    ) -> Result<Self, InvalidEndpoint> {
        let url = url(&config)?;
        let headers = headers(&config)?;
        let builder = || {
            Client::builder()
                .connect_timeout(config.timeouts.connect)
                // A key goes to the address it was given for, and nowhere else.
                .redirect(redirect::Policy::none())
                .user_agent(concat!("quillwork/", env!("CARGO_PKG_VERSION")))
        };
        let client = HttpClient::new(builder).map_err(|error| InvalidEndpoint::Client {
            name: config.name.clone(),
            reason: innermost(&error),
        })?;
        let fingerprint = config.key.as_ref().map_or_else(String::new, |key| key.fingerprint());
        let limits = Limits {
            concurrency: config.concurrency,
            rate: config.rate,
            rate_key: Some(format!("provider:{}:{fingerprint}", config.name)),
            ..Limits::model()
        };
        let guard = Guard::new(&config.name, limits, limiter, metrics.clone());
        Ok(Self { config, guard, price, client, url, headers, metrics, state: Mutex::default() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, without the version of the prices and the reason of the choice.
    pub(super) async fn complete(
        &self,
        prompt: &Prompt,
        prompt_tokens: u64,
        call: &Call,
        draft: &mut dyn DraftSink,
    ) -> Result<Completion, ProviderError> {
        let request = match &self.config.dialect {
            Dialect::OpenAi(options) => openai::request(options, &self.config.model, prompt),
            Dialect::Anthropic => anthropic::request(&self.config.model, prompt),
        };
        let request = Bytes::from(request.to_string());
        let answered = async {
            // Only what has cost nothing yet is tried again.
            let opened = shortly(call, || self.open(request.clone())).await?;
            self.read(opened, prompt_tokens, draft).await
        };
        self.guard.once(call, answered).await
    }

    async fn open(&self, request: Bytes) -> Result<Opened, ProviderError> {
        let start = Instant::now();
        let until = start + self.config.timeouts.first_token;
        let client = self.client.at(&self.url).map_err(|error| {
            self.state().is_misconfigured = true;
            ProviderError::permanent(format!("{self}: {error}"))
        })?;
        let sent = client.post(self.url.clone()).headers(self.headers.clone()).body(request).send();
        let response = match timeout_at(until, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.broken(stream::broken(error))),
            Err(_) => return Err(self.silent_at_first()),
        };
        if let Some(rate) = RateState::of(response.headers(), Utc::now()) {
            self.state().rate = rate;
        }
        let request_id = request_id(response.headers());
        let status = response.status();
        if status.is_success() {
            self.state().is_misconfigured = false;
            return Ok(Opened { response, start, request_id });
        }
        let headers = response.headers().clone();
        // A body that cannot be read leaves the status, which says enough.
        let body = timeout_at(until, stream::body(response, MAX_ERROR_BYTES)).await;
        let body = body.ok().and_then(Result::ok).map(|(body, _)| body).unwrap_or_default();
        let refusal = Refusal::of_body(status.as_u16(), &headers, &self.redact(&body), Utc::now());
        Err(self.refused(&refusal, request_id.as_deref()))
    }

    async fn read(
        &self,
        opened: Opened,
        prompt_tokens: u64,
        draft: &mut dyn DraftSink,
    ) -> Result<Completion, ProviderError> {
        let mut answer = Answer::new(Bill {
            endpoint: &self.config.name,
            model: &self.config.model,
            price: self.price,
            metrics: &self.metrics,
            prompt_tokens,
        });
        let request_id = opened.request_id.clone();
        let read = self.take_in(opened, &mut answer, draft).await;
        let finish = match read.and_then(|()| self.finish(&answer)) {
            Ok(finish) => finish,
            Err(error) if answer.is_billed() => {
                draft.billed(self.failed(&mut answer, &error));
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let usage = answer.usage();
        // Local servers cut a prompt that does not fit, and say nothing.
        if !usage.estimated && prompt_tokens > 3_000 && usage.input < prompt_tokens / 3 {
            tracing::warn!(
                endpoint = self.config.name,
                counted = usage.input,
                estimated = prompt_tokens,
                "the model seems to have read a part of the prompt only: raise its context size, and set its `context_tokens`"
            );
        }
        Ok(Completion {
            from_cache: false,
            finish,
            provider: self.config.name.clone(),
            model: answer.model.take().unwrap_or_else(|| self.config.model.clone()),
            usage,
            request_id: request_id.or_else(|| answer.id.take()),
            cost_micros: answer.cost_micros(),
            prices: None,
            choice: String::new(),
            text: std::mem::take(&mut answer.text),
        })
    }

    fn failed(&self, answer: &mut Answer<'_>, error: &ProviderError) -> FailedCall {
        FailedCall {
            provider: self.config.name.clone(),
            model: answer.model.take().unwrap_or_else(|| self.config.model.clone()),
            usage: answer.usage(),
            cost_micros: answer.cost_micros(),
            prices: None,
            error: error.message.clone(),
        }
    }

    async fn take_in(
        &self,
        opened: Opened,
        answer: &mut Answer<'_>,
        draft: &mut dyn DraftSink,
    ) -> Result<(), ProviderError> {
        let mut until = opened.start + self.config.timeouts.first_token;
        let mut has_begun = false;
        let mut events = data(opened.response);
        while !answer.is_last {
            let event = match timeout_at(until, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(None) => return Ok(()),
                // The text is whole; what is missing are the counts.
                Ok(Some(Err(_))) | Err(_) if answer.end.is_some() => return Ok(()),
                Ok(Some(Err(error))) => return Err(self.broken(error)),
                Err(_) if has_begun => return Err(self.silent_in_between()),
                Err(_) => return Err(self.silent_at_first()),
            };
            let piece = self.piece(&event)?;
            if piece.is_progress() {
                if !has_begun {
                    self.has_latency(opened.start.elapsed());
                }
                has_begun = true;
                let wait = if piece.end.is_some() { LAST_WORDS } else { self.config.timeouts.idle };
                until = Instant::now() + wait;
            }
            if answer.text.len() + piece.text.len() > MAX_TEXT_BYTES {
                return Err(self.broken(Broken::TooMuch("its answer is over 4 MB")));
            }
            if !piece.text.is_empty() {
                draft.push(&piece.text);
            }
            answer.add(piece);
        }
        // The end of the stream is there already, most often; a connection that was read to its end is used again.
        let _ = events.next().now_or_never();
        Ok(())
    }

    fn piece(&self, event: &str) -> Result<Piece, ProviderError> {
        let event = self.redact(event);
        let piece = match &self.config.dialect {
            Dialect::OpenAi(_) => openai::piece(&event),
            Dialect::Anthropic => anthropic::piece(&event),
        };
        let piece = piece.map_err(|_| {
            let said = Refusal::of_body(200, &HeaderMap::new(), &event, Utc::now()).message;
            self.transient(&format!("it answered something that is not JSON ({said}); is its `url` right?"))
        })?;
        match &piece.error {
            Some(error) => Err(self.refused(&Refusal::of_value(error), None)),
            None => Ok(piece),
        }
    }

    fn finish(&self, answer: &Answer<'_>) -> Result<Finish, ProviderError> {
        match answer.end {
            Some(End::Finish(finish)) => Ok(finish),
            Some(End::Tool) => Err(ProviderError {
                class: ErrorClass::BadOutput,
                message: format!("{self}: it called for a tool instead of answering; it was offered none"),
                retry_after: None,
            }),
            Some(End::Error) => Err(self.transient("it gave up in the middle of its answer")),
            None if answer.is_last && !answer.text.is_empty() => Ok(Finish::Stop),
            None if answer.is_last => Err(self.transient("its answer is empty and has no end")),
            None => Err(self.transient("its stream ended before the answer did")),
        }
    }

    fn has_latency(&self, latest: Duration) {
        let mut state = self.state();
        let average = |before: Duration| (before * (100 - NEWEST_PERCENT) + latest * NEWEST_PERCENT) / 100;
        state.latency = Some(state.latency.map_or(latest, average));
    }

    fn refused(&self, refusal: &Refusal, request_id: Option<&str>) -> ProviderError {
        let class = refusal.class();
        if refusal.is_misconfiguration() {
            self.state().is_misconfigured = true;
        }
        let status = refusal.status.map_or_else(String::new, |status| format!("HTTP {status}: "));
        let request = request_id.map_or_else(String::new, |id| format!(" (request {id})"));
        let (said, hint) = (&refusal.message, refusal.hint(class));
        ProviderError {
            class,
            message: format!("{self}: {status}{said}{request}{hint}"),
            retry_after: refusal.retry_after,
        }
    }

    fn broken(&self, broken: Broken) -> ProviderError {
        match broken {
            Broken::Connection(_) | Broken::Malformed(_) => self.transient(&self.redact(&broken.to_string())),
            Broken::TooMuch(_) => ProviderError {
                class: ErrorClass::BadOutput,
                message: format!("{self}: {broken}; it was not read any further"),
                retry_after: None,
            },
        }
    }

    fn silent_at_first(&self) -> ProviderError {
        let time = shown(self.config.timeouts.first_token);
        self.transient(&format!("no text came within {time} (its `first_token_timeout`)"))
    }

    fn silent_in_between(&self) -> ProviderError {
        let time = shown(self.config.timeouts.idle);
        self.transient(&format!("it fell silent for {time} in the middle of its answer (its `idle_timeout`)"))
    }

    fn transient(&self, reason: &str) -> ProviderError {
        ProviderError::transient(format!("{self}: {reason}"))
    }

    fn redact(&self, text: &str) -> String {
        self.config.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.config.name, self.config.model)
    }
}

fn url(config: &EndpointConfig) -> Result<Url, InvalidEndpoint> {
    let name = config.name.clone();
    let path = match &config.dialect {
        Dialect::OpenAi(_) => openai::PATH,
        Dialect::Anthropic => anthropic::PATH,
    };
    let base = Url::parse(config.base_url.trim_end_matches('/')).ok();
    let base = base.filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
    match base {
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            Err(InvalidEndpoint::Credentials(name))
        }
        Some(mut url) => {
            url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
            Ok(url)
        }
        None if config.base_url.contains('@') => Err(InvalidEndpoint::Credentials(name)),
        None => Err(InvalidEndpoint::BaseUrl(name)),
    }
}

fn headers(config: &EndpointConfig) -> Result<HeaderMap, InvalidEndpoint> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = &config.key {
        let (name, value) = match &config.dialect {
            Dialect::OpenAi(_) => (AUTHORIZATION, format!("Bearer {}", key.expose())),
            Dialect::Anthropic => (HeaderName::from_static("x-api-key"), key.expose().to_owned()),
        };
        let value = HeaderValue::try_from(value);
        let mut value = value.map_err(|_| InvalidEndpoint::Key(config.name.clone()))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    if config.dialect == Dialect::Anthropic {
        headers.insert("anthropic-version", HeaderValue::from_static(anthropic::VERSION));
    }
    for (header, value) in &config.headers {
        let invalid = || InvalidEndpoint::Header { name: config.name.clone(), header: header.clone() };
        let name = HeaderName::try_from(header).map_err(|_| invalid())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| invalid())?;
        // It may hold a key, too.
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The events of a stream, or a whole answer in place of them.
fn data(response: Response) -> BoxStream<'static, Result<String, Broken>> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.contains("json") && !kind.contains("html") {
        return stream::events(response);
    }
    let whole = async {
        match stream::body(response, MAX_BODY_BYTES).await? {
            (body, true) => Ok(body),
            (_, false) => Err(Broken::TooMuch("its answer is over 8 MB")),
        }
    };
    futures::stream::once(whole).boxed()
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let names = ["x-request-id", "request-id", "x-generation-id"];
    let value = names.iter().find_map(|name| headers.get(*name)?.to_str().ok())?;
    Some(short(value.to_owned()))
}
