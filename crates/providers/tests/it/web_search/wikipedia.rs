use quillwork_providers::web_search::wikipedia::{Wikipedia, WikipediaConfig};
use serde_json::json;
use wiremock::matchers::{header, query_param};

use super::*;

fn config(base_url: String, timeout: Duration) -> WikipediaConfig {
    WikipediaConfig { base_url: Some(base_url), timeout, ..WikipediaConfig::new("ops@quill.example") }
}

fn wikipedia(base_url: String) -> Box<dyn Search> {
    Box::new(Wikipedia::new(config(base_url, PATIENCE)).unwrap())
}

#[tokio::test]
async fn articles_are_listed_by_their_rank() {
    let server = MockServer::start().await;
    let body = json!({"batchcomplete": true, "continue": {"gsroffset": 12, "continue": "gsroffset||"}, "query": {"pages": [
        {"pageid": 3, "ns": 0, "title": "Web cache", "index": 2, "fullurl": "https://en.wikipedia.org/wiki/Web_cache", "editurl": "x"},
        {"pageid": 1, "ns": 0, "title": "HTTP  caching", "index": 1, "fullurl": "https://en.wikipedia.org/wiki/HTTP_caching#Top"},
        {"pageid": 4, "ns": 0, "title": "Cache", "index": 3, "fullurl": "https://en.wikipedia.org/wiki/Cache",
         "pageprops": {"disambiguation": ""}},
        {"pageid": 5, "ns": 0, "title": "", "index": 4, "fullurl": "https://en.wikipedia.org/wiki/Nothing"},
        {"pageid": 6, "ns": 0, "title": "No address", "index": 5},
        {"pageid": 7, "ns": 0, "title": "Again", "index": 6, "fullurl": "https://en.wikipedia.org/wiki/HTTP_caching"},
        {"pageid": 8, "ns": 0, "title": "Script", "index": 7, "fullurl": "javascript:alert(1)"},
    ]}});
    Mock::given(method("GET"))
        .and(query_param("action", "query"))
        .and(query_param("formatversion", "2"))
        .and(query_param("generator", "search"))
        .and(query_param("gsrsearch", "HTTP caching & more"))
        .and(query_param("gsrlimit", "12"))
        .and(query_param("maxlag", "5"))
        .and(header("user-agent", concat!("Quillwork/", env!("CARGO_PKG_VERSION"), " (ops@quill.example)")))
        .respond_with(json(200, &body))
        .expect(1)
        .mount(&server)
        .await;
    let findings = search(&*wikipedia(server.uri()), "HTTP caching & more").await.unwrap();
    assert_eq!(
        listed(&findings),
        [
            (1, "HTTP caching", "https://en.wikipedia.org/wiki/HTTP_caching"),
            (2, "Web cache", "https://en.wikipedia.org/wiki/Web_cache"),
        ]
    );
    assert!(findings.sources.iter().all(|source| source.passages.is_empty()));
    assert!(findings.sources.iter().all(|source| source.found_by == ["wikipedia"]));
    assert_eq!((findings.searched.provider.as_str(), findings.searched.documents), ("wikipedia", 6));
    assert!(findings.searched.name.contains("CC BY-SA 4.0"), "{}", findings.searched.name);
}

#[tokio::test]
async fn nothing_found_is_no_error() {
    let server = answering(json(200, &json!({"batchcomplete": true}))).await;
    assert_eq!(listed(&search(&*wikipedia(server.uri()), "xyzzy").await.unwrap()), []);
}

#[tokio::test]
async fn every_error_is_classified() {
    use ErrorClass::{Permanent, RateLimited, Transient};
    let inside = |code: &str| {
        json(200, &json!({"error": {"code": code, "info": "Waiting\nfor db"}, "servedby": "mw1"}))
    };
    let mut failures = vec![
        Failure::new(
            inside("maxlag").insert_header("retry-after", "5"),
            RateLimited,
            Some(5),
            "Waiting for db",
        ),
        Failure::new(inside("ratelimited"), RateLimited, None, "ratelimited"),
        Failure::new(inside("readonly"), Transient, None, "readonly"),
        Failure::new(inside("internal_api_error_DBQueryError"), Transient, None, "DBQueryError"),
        Failure::new(inside("cirrussearch-too-busy-error"), Transient, None, "busy"),
        Failure::new(inside("badvalue"), Permanent, None, "badvalue"),
        Failure::new(
            json(200, &json!({})).insert_header("MediaWiki-API-Error", "maxlag"),
            RateLimited,
            None,
            "maxlag",
        ),
        Failure::new(
            text(429, "Too many requests").insert_header("MediaWiki-API-Error", "ratelimited"),
            RateLimited,
            None,
            "ratelimited",
        ),
        Failure::new(text(403, "Please set a user-agent"), Permanent, None, "contact"),
    ];
    failures.extend(common_failures());
    for failure in failures {
        fails(failure, wikipedia).await;
    }
}

#[tokio::test]
async fn connections_may_fail() {
    survives_bad_connections(|url, timeout| Box::new(Wikipedia::new(config(url, timeout)).unwrap())).await;
}

/// The second request is not sent before the first is answered.
#[tokio::test]
async fn one_thing_is_asked_at_a_time() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wikipedia: std::sync::Arc<dyn Search> =
        wikipedia(format!("http://{}", listener.local_addr().unwrap())).into();
    let searches: Vec<_> = ["one", "two", "three"]
        .map(|topic| {
            let wikipedia = wikipedia.clone();
            tokio::spawn(async move { search(&*wikipedia, topic).await.unwrap() })
        })
        .into();
    for _ in &searches {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        let early = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(early.is_err(), "another request while the first waits");
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    for search in searches {
        search.await.unwrap();
    }
}

#[test]
fn who_cannot_be_reached_is_refused() {
    let refused = |config| Wikipedia::new(config).map(drop).unwrap_err().to_string();
    for contact in ["", "  ", "me", "a@b.example\r\nX-Evil: 1"] {
        assert!(refused(WikipediaConfig::new(contact)).contains("contact"), "{contact:?}");
    }
    for language in ["", "en.evil.example/", "EN"] {
        let config = WikipediaConfig { language: language.into(), ..WikipediaConfig::new("a@b.example") };
        assert!(refused(config).contains("language"), "{language:?}");
    }
    for base_url in [
        "wiki secret",
        "ftp://me:secret@wiki.example",
        "https://wiki.example:secret/?key=secret",
        "https://me:secret@wiki.example/",
    ] {
        let config =
            WikipediaConfig { base_url: Some(base_url.into()), ..WikipediaConfig::new("a@b.example") };
        let error = refused(config);
        assert!(error.contains("`url`") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn the_language_is_in_the_address() {
    let config = WikipediaConfig { language: "de".into(), ..WikipediaConfig::new("https://quill.example/") };
    assert_eq!(Wikipedia::new(config).unwrap().scope(), "https://de.wikipedia.org/w/api.php");
}
