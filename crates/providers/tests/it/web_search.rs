//! The searches of the web against a server that says what the real ones say.

mod brave;
mod searxng;
mod wikipedia;

use std::time::Duration;

use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::{ProviderError, Unwatched};
use quillwork_app::ports::search::{Findings, Location, Query, Search, Source};
use quillwork_domain::job::ErrorClass;
use serde_json::Value;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Longer than any test.
const PATIENCE: Duration = Duration::from_secs(60);

fn call() -> Call {
    Call::within(PATIENCE)
}

fn query(topic: &str) -> Query {
    Query { topic: topic.into(), max_sources: 4, max_passages: 6 }
}

async fn search(provider: &dyn Search, topic: &str) -> Result<Findings, ProviderError> {
    provider.search(&query(topic), &call(), &Unwatched).await
}

/// A server that answers everything so.
async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(answer).mount(&server).await;
    server
}

fn json(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

fn text(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.to_owned(), "text/html")
}

/// Number, title and address of each source.
fn listed(findings: &Findings) -> Vec<(u32, &str, &str)> {
    findings.sources.iter().map(|source| (source.n, source.title.as_str(), address(source))).collect()
}

fn address(source: &Source) -> &str {
    match &source.location {
        Location::Url(url) => url,
        Location::Path(path) => panic!("a path: {path}"),
    }
}

/// One way to fail, what becomes of it, and what the message says.
struct Failure {
    answer: ResponseTemplate,
    class: ErrorClass,
    wait: Option<u64>,
    says: &'static str,
}

impl Failure {
    fn new(answer: ResponseTemplate, class: ErrorClass, wait: Option<u64>, says: &'static str) -> Self {
        Self { answer, class, wait, says }
    }
}

async fn fails(failure: Failure, provider: impl Fn(String) -> Box<dyn Search>) {
    let server = answering(failure.answer).await;
    let error = search(&*provider(server.uri()), "anything").await.unwrap_err();
    let told = format!("{error:?}");
    assert_eq!(error.class, failure.class, "{told}");
    assert_eq!(error.retry_after, failure.wait.map(Duration::from_secs), "{told}");
    assert!(error.message.contains(failure.says), "{:?} is not in {told}", failure.says);
    assert!(error.message.contains("127.0.0.1"), "who failed is named: {told}");
}

/// What any server may do wrong.
fn common_failures() -> Vec<Failure> {
    use ErrorClass::{Permanent, Quota, RateLimited, Transient};
    vec![
        Failure::new(text(500, "oops"), Transient, None, "500"),
        Failure::new(text(502, "<h1>Bad\n gateway</h1>"), Transient, None, "Bad gateway"),
        Failure::new(text(503, "").insert_header("retry-after", "7"), Transient, Some(7), "503"),
        Failure::new(text(504, ""), Transient, None, "504"),
        Failure::new(text(408, ""), Transient, None, "408"),
        Failure::new(text(429, "slow down").insert_header("retry-after", "120"), RateLimited, Some(120), ""),
        Failure::new(text(429, "").insert_header("retry-after", "soon"), RateLimited, None, ""),
        Failure::new(text(402, "pay"), Quota, None, "402"),
        Failure::new(text(404, "no such page"), Permanent, None, "no such page"),
        Failure::new(text(400, ""), Permanent, None, "400"),
        Failure::new(text(200, "<html>Welcome</html>"), Permanent, None, "check its `url`"),
        Failure::new(
            ResponseTemplate::new(200).set_body_raw("{\"results\": [", "application/json"),
            Transient,
            None,
            "ends early",
        ),
        Failure::new(
            ResponseTemplate::new(302).insert_header("location", "http://evil.example/"),
            Permanent,
            None,
            "evil.example",
        ),
        Failure::new(
            ResponseTemplate::new(200).set_body_raw(vec![b' '; 2 * 1024 * 1024 + 1], "application/json"),
            Permanent,
            None,
            "bytes",
        ),
    ]
}

/// Whatever goes wrong below HTTP.
async fn survives_bad_connections(provider: impl Fn(String, Duration) -> Box<dyn Search>) {
    let nobody = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let error = search(&*provider(nobody, PATIENCE), "topic").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error:?}");
    assert!(error.message.contains("cannot be reached"), "{error:?}");

    let slow = answering(json(200, &Value::Null).set_delay(PATIENCE)).await;
    let error = search(&*provider(slow.uri(), Duration::from_millis(50)), "topic").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error:?}");
    assert!(error.message.contains("did not answer within"), "{error:?}");

    let impatient = Call::within(Duration::from_millis(50));
    let slow_provider = provider(slow.uri(), PATIENCE);
    let error = slow_provider.search(&query("topic"), &impatient, &Unwatched).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Timeout, "{error:?}");

    let unwanted = call();
    unwanted.cancel.cancel();
    let error = slow_provider.search(&query("topic"), &unwanted, &Unwatched).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Released, "{error:?}");

    // Says how much will come, and hangs up.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let cutting = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
    });
    let error = search(&*provider(address, PATIENCE), "topic").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error:?}");
    assert!(error.message.contains("broke off"), "{error:?}");
    cutting.await.unwrap();
}
