//! A stage that is done by a service of the user, over HTTP.
//!
//! One signed POST per attempt. The call lasts as long as the work does; its end, good or bad, is the answer. The wire
//! format is described in `docs/own-stage.md`.

mod output;
mod refusal;
mod signature;

use std::error::Error as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::ProviderError;
use quillwork_app::ports::remote::{MAX_ANSWER_BYTES, RemoteRequest, RemoteStage};
use quillwork_domain::job::ErrorClass;
use quillwork_domain::time::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::value::RawValue;
use url::Url;

use self::refusal::Refusal;
use self::signature::{InvalidSecret, Signer};
use crate::http_client::HttpClient;
use crate::resilience::Guard;
use crate::secret::Secret;

/// The outputs of all stages before go into one request.
const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// Of the body of a refusal; what is beyond is not read.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// A service that does not even take the connection by then is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a service is, and how it knows that it is us.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub url: Url,
    pub secret: Secret,
    /// A call may take this long, if its stage has that much time.
    pub timeout: Option<Duration>,
}

/// The service that does the stages of one handler.
pub struct HttpService {
    /// For messages: the service, without what its URL may keep in the query.
    name: String,
    url: Url,
    timeout: Option<Duration>,
    secret: Secret,
    signer: Signer,
    client: HttpClient,
    guard: Guard,
}

/// A service that cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum InvalidService {
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
    #[error("no HTTP client can be made")]
    Client(#[from] reqwest::Error),
}

impl HttpService {
    /// Connects with the first call.
    pub fn new(handler: &str, endpoint: Endpoint, guard: Guard) -> Result<Self, InvalidService> {
        let Endpoint { url, secret, timeout } = endpoint;
        let mut shown = url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        let client = HttpClient::new(|| {
            Client::builder()
                .user_agent(concat!("quillwork/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                // A signed request is for one address.
                .redirect(Policy::none())
                // A connection that the service closed while it was idle would cost an attempt.
                .pool_max_idle_per_host(0)
        })?;
        let name = format!("the service of {handler} at {shown}");
        Ok(Self { name, url, timeout, signer: Signer::new(&secret)?, secret, client, guard })
    }

    async fn ask(&self, request: &RemoteRequest, call: &Call) -> Result<Box<RawValue>, ProviderError> {
        let client = self
            .client
            .at(&self.url)
            .map_err(|error| ProviderError::permanent(format!("{} cannot be called: {error}", self.name)))?;
        let body = serde_json::to_vec(request).map_err(|error| {
            ProviderError::permanent(format!("the request to {} cannot be written: {error}", self.name))
        })?;
        if body.len() > MAX_REQUEST_BYTES {
            let message = format!(
                "the request to {} has {} bytes with the outputs of earlier stages; at most {MAX_REQUEST_BYTES} are sent",
                self.name,
                body.len()
            );
            return Err(ProviderError { class: ErrorClass::TooLarge, message, retry_after: None });
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let deadline = self.deadline(call).saturating_duration_since(Instant::now());
        let deadline =
            Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX)).plus(deadline);
        let mut post = client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("x-quillwork-job", request.job.to_string())
            .header("x-quillwork-attempt", request.attempt.0)
            .header("x-quillwork-idempotency-key", &request.idempotency_key)
            .header("x-quillwork-deadline", deadline.to_rfc3339().as_slice())
            .header("x-quillwork-signature", self.signer.header(now.as_secs(), &body));
        // It came from a client, and is no reason to fail the call.
        if let Some(trace) =
            request.traceparent.as_deref().and_then(|trace| HeaderValue::from_str(trace).ok())
        {
            post = post.header("traceparent", trace);
        }
        let response = post.body(body).send().await.map_err(|error| self.broken(error))?;
        self.answer(response).await
    }

    async fn answer(&self, response: Response) -> Result<Box<RawValue>, ProviderError> {
        let status = response.status();
        if status == StatusCode::ACCEPTED {
            return Err(ProviderError::permanent(format!(
                "{} answered 202 Accepted, but the answer must be the output: answer when the work is done, or answer 503 with Retry-After to be asked again with the same idempotency key",
                self.name
            )));
        }
        if !status.is_success() {
            let headers = response.headers().clone();
            // Without a body the status must do.
            let body = self.body(response, MAX_REFUSAL_BYTES).await.unwrap_or_default();
            let refusal = Refusal { status, headers: &headers, body: body.bytes() };
            return Err(refusal.into_error(&self.name, &self.secret, SystemTime::now()));
        }
        match self.body(response, MAX_ANSWER_BYTES).await? {
            Body::Whole(bytes) => output::read(&bytes).map_err(|reason| ProviderError {
                class: ErrorClass::BadOutput,
                message: format!("{} answered {status} with what is no JSON: {reason}", self.name),
                retry_after: None,
            }),
            Body::Cut(_) => Err(ProviderError {
                class: ErrorClass::TooLarge,
                message: format!("{} answered with more than {MAX_ANSWER_BYTES} bytes", self.name),
                retry_after: None,
            }),
        }
    }

    /// Reads no more than `max` bytes.
    async fn body(&self, mut response: Response, max: usize) -> Result<Body, ProviderError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            let room = max - bytes.len();
            if chunk.len() > room {
                bytes.extend_from_slice(&chunk[..room]);
                return Ok(Body::Cut(bytes));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Body::Whole(bytes))
    }

    /// When the call will be given up.
    fn deadline(&self, call: &Call) -> Instant {
        let own = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        own.map_or(call.deadline, |own| own.min(call.deadline))
    }

    fn broken(&self, error: reqwest::Error) -> ProviderError {
        let what = if error.is_connect() { "cannot be reached" } else { "did not answer to the end" };
        let is_ours = error.is_builder();
        let error = error.without_url();
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        if is_ours {
            return ProviderError::permanent(format!("{} cannot be called: {reason}", self.name));
        }
        ProviderError::transient(format!("{} {what}: {reason}", self.name))
    }
}

#[async_trait]
impl RemoteStage for HttpService {
    async fn run(&self, request: &RemoteRequest, call: &Call) -> Result<Box<RawValue>, ProviderError> {
        // Once: what a second call would do is the service's affair, and the plan says how often it is made.
        self.guard
            .once(call, async {
                let Some(timeout) = self.timeout else { return self.ask(request, call).await };
                tokio::time::timeout(timeout, self.ask(request, call)).await.unwrap_or_else(|_| {
                    Err(ProviderError::transient(format!(
                        "{} did not answer within its timeout of {} ms",
                        self.name,
                        timeout.as_millis()
                    )))
                })
            })
            .await
    }
}

/// What was read of a body.
enum Body {
    Whole(Vec<u8>),
    /// There was more.
    Cut(Vec<u8>),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::Cut(bytes) => bytes,
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Vec::new())
    }
}
