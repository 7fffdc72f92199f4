//! Talking to a running server.
//!
//! A call that the server could not take now is made again, as it was: submissions carry an idempotency key, so that
//! making one twice never creates two jobs.

mod follow;
mod problem;

use std::time::Duration;

use anyhow::Context as _;
use backon::{ExponentialBuilder, Retryable as _};
use quillwork_providers::http_client::HttpClient;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::exit::{Unreachable, Usage};
pub(crate) use follow::{Followed, Follower, SseMessage};
pub(crate) use problem::Problem;

/// A refused connection is tried again this often: enough for a restart, short enough to say soon that nobody is there.
const CONNECT_RETRIES: usize = 4;

/// A busy server is asked again this often.
const BUSY_RETRIES: usize = 8;

/// No answer takes longer, long polls apart.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The longest wait that a server can ask for.
const MAX_PATIENCE: Duration = Duration::from_secs(30);

/// Which server to talk to.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server to talk to.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "QUILLWORK_SERVER",
        hide_env_values = true,
        default_value = "http://127.0.0.1:7070"
    )]
    server: String,
}

/// A server's API.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    base: Url,
    http: Client,
}

/// Why a call did not succeed.
#[derive(Debug)]
enum CallError {
    Connect(reqwest::Error),
    Busy { problem: Problem, retry_after: Option<Duration> },
    Refused(Problem),
    Broken(reqwest::Error),
}

impl ServerArgs {
    /// The named server; nothing is sent yet.
    pub(crate) fn server(&self) -> anyhow::Result<Server> {
        let base = Url::parse(&self.server)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                Usage("--server (or QUILLWORK_SERVER): expected a URL such as http://127.0.0.1:7070".into())
            })?;
        let http = HttpClient::new(|| {
            Client::builder()
                .connect_timeout(Duration::from_secs(5))
                .user_agent(concat!("quillwork/", env!("CARGO_PKG_VERSION")))
        })
        .context("cannot set up the HTTP client")?;
        let http = http.at(&base).context("cannot call the server")?.clone();
        Ok(Server { base, http })
    }
}

impl Server {
    /// The URL of a path, given by its segments.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Where the server listens, without credentials.
    pub(crate) fn name(&self) -> String {
        let mut url = self.base.clone();
        // Both fail only for URLs without a host.
        let _ = url.set_password(None);
        let _ = url.set_username("");
        url.to_string().trim_end_matches('/').to_owned()
    }

    /// Gets JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: Url) -> anyhow::Result<T> {
        let answer = self.call(|http| http.get(url.clone()).timeout(TIMEOUT)).await?;
        answer.json().await.with_context(|| format!("the answer of {} is not what was expected", url.path()))
    }

    /// Makes a call, again if it makes sense, and returns the answer if it is a good one.
    pub(crate) async fn call(&self, request: impl Fn(&Client) -> RequestBuilder) -> anyhow::Result<Response> {
        let attempt = || async { once(request(&self.http)).await };
        let mut connects = 0;
        let answer = attempt
            .retry(
                ExponentialBuilder::default()
                    .with_jitter()
                    .with_min_delay(Duration::from_millis(200))
                    .with_max_delay(Duration::from_secs(5))
                    .with_max_times(BUSY_RETRIES),
            )
            .when(|error| match error {
                CallError::Connect(_) => {
                    connects += 1;
                    connects <= CONNECT_RETRIES
                }
                CallError::Busy { .. } => true,
                CallError::Refused(_) | CallError::Broken(_) => false,
            })
            .adjust(|error, delay| match error {
                CallError::Busy { retry_after: Some(asked), .. } => {
                    delay.map(|delay| delay.max((*asked).min(MAX_PATIENCE)))
                }
                CallError::Busy { .. }
                | CallError::Connect(_)
                | CallError::Refused(_)
                | CallError::Broken(_) => delay,
            })
            .await;
        answer.map_err(|error| match error {
            CallError::Connect(error) => {
                Unreachable { server: self.name(), reason: root_cause(&error) }.into()
            }
            CallError::Busy { problem, .. } | CallError::Refused(problem) => problem.into(),
            CallError::Broken(error) => {
                anyhow::Error::new(error.without_url()).context(format!("the call to {} failed", self.name()))
            }
        })
    }
}

async fn once(request: RequestBuilder) -> Result<Response, CallError> {
    let answer = request.send().await.map_err(|error| {
        // A connection that broke before the answer came counts as not there: the call is made again with its key.
        let again = error.is_connect() || (error.is_request() && !error.is_timeout());
        if again { CallError::Connect(error) } else { CallError::Broken(error) }
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = retry_after(&answer);
    let body = answer.bytes().await.unwrap_or_default();
    let problem = Problem::read(status, &body);
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        Err(CallError::Busy { problem, retry_after })
    } else {
        Err(CallError::Refused(problem))
    }
}

/// The seconds of a `Retry-After` header.
fn retry_after(answer: &Response) -> Option<Duration> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives each connection one answer; returns what it was sent.
    async fn answers(listener: TcpListener, answers: &[&str]) -> Vec<String> {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 10_000];
            let n_bytes = stream.read(&mut request).await.unwrap();
            requests.push(String::from_utf8_lossy(&request[..n_bytes]).into_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    }

    async fn server() -> (TcpListener, Server) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        (listener, ServerArgs { server }.server().unwrap())
    }

    fn post(server: &Server) -> impl Fn(&Client) -> RequestBuilder + use<> {
        let url = server.url(&["v1", "jobs"]);
        move |http| http.post(url.clone()).header("Idempotency-Key", "k").body("{}")
    }

    #[tokio::test]
    async fn a_busy_server_and_a_broken_connection_are_asked_again_with_the_same_key() {
        let (listener, server) = server().await;
        let script = [
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "",
            "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ];
        let (requests, answer) = tokio::join!(answers(listener, &script), server.call(post(&server)));
        assert_eq!(answer.unwrap().status(), StatusCode::ACCEPTED);
        assert_eq!(requests.len(), 3);
        assert!(requests.iter().all(|request| request.contains("idempotency-key: k")), "{requests:?}");
    }

    #[tokio::test]
    async fn a_refusal_is_not_asked_again() {
        let (listener, server) = server().await;
        let body = r#"{"title":"Invalid","detail":"topic: expected text"}"#;
        let answer = format!(
            "HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let script = [answer.as_str()];
        let (_, answer) = tokio::join!(answers(listener, &script), server.call(post(&server)));
        assert_eq!(answer.unwrap_err().to_string(), "topic: expected text (HTTP 422)");
    }

    #[tokio::test]
    async fn nobody_there_says_what_to_do() {
        let (listener, server) = server().await;
        drop(listener);
        let error = server.call(post(&server)).await.unwrap_err();
        assert!(error.is::<Unreachable>());
        assert!(error.to_string().contains("quillwork up"), "{error}");
    }

    #[test]
    fn credentials_are_not_shown() {
        let server = ServerArgs { server: "http://user:secret@localhost:1/base/".into() }.server().unwrap();
        assert_eq!(server.name(), "http://localhost:1/base");
        assert_eq!(server.url(&["v1", "a b"]).path(), "/base/v1/a%20b");
    }
}
