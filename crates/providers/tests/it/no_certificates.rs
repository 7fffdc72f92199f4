//! On a machine without CA certificates: all can be made, and whoever speaks plain HTTP is asked.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::{Fetch as _, Fetched};
use quillwork_app::ports::model::{LanguageModel as _, Message, Prompt, Role, Unseen};
use quillwork_app::ports::provider::{ProviderError, Unwatched};
use quillwork_app::ports::rate_limiter::RateLimiter;
use quillwork_app::ports::remote::{RemoteRequest, RemoteStage as _};
use quillwork_app::ports::search::{Query, Search as _};
use quillwork_domain::id::{Attempt, JobId};
use quillwork_domain::job::ErrorClass;
use quillwork_providers::fetch::{FetchConfig, FetchConfigError, WebFetcher};
use quillwork_providers::llm::{Balancer, Dialect, EndpointConfig, PriceTable};
use quillwork_providers::rate_limit::memory::MemoryLimiter;
use quillwork_providers::remote::{Endpoint, HttpService};
use quillwork_providers::resilience::{Guard, Limits, ProviderMetrics};
use quillwork_providers::secret::Secret;
use quillwork_providers::web_search::searxng::{Searxng, SearxngConfig};
use serde_json::json;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

const CHILD: &str = "QUILLWORK_TEST_WITHOUT_CERTIFICATES";

#[tokio::test]
async fn plain_http_works_and_https_says_what_is_missing() {
    if std::env::var_os(CHILD).is_some() {
        return without_certificates().await;
    }
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "no_certificates::plain_http_works_and_https_says_what_is_missing"])
        .env(CHILD, "1")
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", "/nonexistent");
    let done = tokio::task::spawn_blocking(move || test.output()).await.unwrap().unwrap();
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && output.contains("1 passed"), "{output}");
}

async fn without_certificates() {
    let server = MockServer::start().await;
    let page = "<p>One two three four.".as_bytes().to_owned();
    let completion = json!({"choices": [{"message": {"content": "done"}, "finish_reason": "stop"}]});
    for (at, answer) in [
        ("/page", ResponseTemplate::new(200).set_body_raw(page, "text/html")),
        ("/search", ResponseTemplate::new(200).set_body_json(json!({"results": []}))),
        ("/chat/completions", ResponseTemplate::new(200).set_body_json(completion)),
        ("/run", ResponseTemplate::new(200).set_body_json(json!({"done": true}))),
    ] {
        Mock::given(path(at)).respond_with(answer).mount(&server).await;
    }
    let http = server.uri();
    // Nobody is asked there.
    let https = "https://127.0.0.1:1";

    fetches(&http, https).await;
    searches(&http, https).await;
    completes(&http, https).await;
    runs(&http, https).await;
}

#[track_caller]
fn lacks_certificates(error: &ProviderError) {
    assert_eq!(error.class, ErrorClass::Permanent, "{error}");
    assert!(
        error.message.contains("No CA certificates") && error.message.contains("SSL_CERT_FILE"),
        "{error}"
    );
}

fn call() -> Call {
    Call::within(Duration::from_secs(120))
}

async fn fetches(http: &str, https: &str) {
    let hosts = [http, https].map(|url| url.split_once("://").unwrap().1.to_owned());
    let config = FetchConfig { allow_private_hosts: hosts.into(), ..FetchConfig::default() };
    let fetcher = WebFetcher::new(config.clone()).unwrap();
    let fetched = fetcher.fetch(&format!("{http}/page"), &call()).await.unwrap();
    assert!(matches!(fetched, Fetched::Page(_)), "{fetched:?}");
    lacks_certificates(&fetcher.fetch(&format!("{https}/page"), &call()).await.unwrap_err());
    lacks_certificates(&fetcher.fetch("https://example.com/", &call()).await.unwrap_err());

    let wrong = FetchConfig { user_agent: "a\nb".to_owned(), ..config };
    assert!(matches!(WebFetcher::new(wrong), Err(FetchConfigError::UserAgent(_))));
}

async fn searches(http: &str, https: &str) {
    let query = Query { topic: "leases".into(), max_sources: 1, max_passages: 1 };
    let at = |url: &str| {
        Searxng::new(SearxngConfig { base_url: url.to_owned(), ..SearxngConfig::default() }).unwrap()
    };
    at(http).search(&query, &call(), &Unwatched).await.unwrap();
    lacks_certificates(&at(https).search(&query, &call(), &Unwatched).await.unwrap_err());
}

async fn completes(http: &str, https: &str) {
    let limiter: Arc<dyn RateLimiter> = Arc::new(MemoryLimiter::default());
    let messages = vec![Message { role: Role::User, text: "leases".into() }];
    let prompt = Prompt { system: String::new(), messages, max_output_tokens: 9, temperature_milli: 0 };
    for (urls, provider) in [(vec![http], Some(http)), (vec![https], None), (vec![https, http], Some(http))] {
        let openai = || Dialect::OpenAi(Default::default());
        let endpoints = urls.iter().map(|url| EndpointConfig::new(url, openai(), url, "m")).collect();
        let models =
            Balancer::new(endpoints, PriceTable::default(), &limiter, &ProviderMetrics::default()).unwrap();
        let completed = models.complete(&prompt, &call(), &mut Unseen).await;
        match provider {
            Some(provider) => assert_eq!(completed.unwrap().provider, provider),
            None => lacks_certificates(&completed.unwrap_err()),
        }
    }
}

async fn runs(http: &str, https: &str) {
    let job: JobId = "job-01970000-0000-7000-8000-000000000001".parse().unwrap();
    let request = RemoteRequest {
        job,
        stage: "own".into(),
        attempt: Attempt(1),
        round: 1,
        topic: "leases".into(),
        settings: None,
        outputs: vec![],
        feedback: vec![],
        idempotency_key: RemoteRequest::key(job, "own", 1),
        traceparent: None,
    };
    let at = |url: &str| {
        let limiter = Arc::new(MemoryLimiter::default());
        let guard = Guard::new("own", Limits::new(1), limiter, ProviderMetrics::default());
        let url = format!("{url}/run").parse().unwrap();
        let secret = Secret::new("sixteen-bytes-and-more");
        HttpService::new("own", Endpoint { url, secret, timeout: None }, guard).unwrap()
    };
    assert_eq!(at(http).run(&request, &call()).await.unwrap().get(), r#"{"done":true}"#);
    lacks_certificates(&at(https).run(&request, &call()).await.unwrap_err());
}
