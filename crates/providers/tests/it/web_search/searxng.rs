use quillwork_providers::web_search::searxng::{SafeSearch, Searxng, SearxngConfig};
use serde_json::json;
use wiremock::matchers::{path, query_param};

use super::*;

fn config(base_url: String, timeout: Duration) -> SearxngConfig {
    SearxngConfig { base_url, timeout, ..SearxngConfig::default() }
}

fn searxng(base_url: String) -> Box<dyn Search> {
    Box::new(Searxng::new(config(base_url, PATIENCE)).unwrap())
}

fn page(results: &[(&str, &str)]) -> Value {
    let results: Vec<Value> = results
        .iter()
        .map(|(title, url)| json!({"title": title, "url": url, "content": "…", "engine": "wiki", "score": 1.0}))
        .collect();
    json!({"query": "q", "number_of_results": 0, "results": results, "unresponsive_engines": []})
}

#[tokio::test]
async fn pages_are_asked_for_until_there_is_enough() {
    let server = MockServer::start().await;
    let on = |number: &str, body: Value| {
        Mock::given(method("GET"))
            .and(path("/searx/search"))
            .and(query_param("q", "caching in HTTP"))
            .and(query_param("format", "json"))
            .and(query_param("language", "de"))
            .and(query_param("safesearch", "2"))
            .and(query_param("pageno", number))
            .respond_with(json(200, &body))
            .expect(1)
    };
    let first = page(&[
        ("One", "https://one.example/?utm_source=x&b=2&a=1"),
        ("Mail", "mailto:me@one.example"),
        ("  ", "https://blank.example/"),
    ]);
    let mut first = first;
    // Only address and title are sure, and not even they.
    let odd = [
        json!({"url": null, "title": "x"}),
        json!({"url": "https://no.example/"}),
        json!("odd"),
        json!({"url": 7, "title": 8}),
    ];
    first["results"].as_array_mut().unwrap().extend(odd);
    on("1", first).mount(&server).await;
    on("2", page(&[("Two", "https://two.example/"), ("One again", "https://one.example/?a=1&b=2")]))
        .mount(&server)
        .await;
    on("3", page(&[])).mount(&server).await;
    let config = SearxngConfig {
        base_url: format!("{}/searx/", server.uri()),
        language: "de".into(),
        safe_search: SafeSearch::Strict,
        ..SearxngConfig::default()
    };
    let findings = search(&Searxng::new(config).unwrap(), "caching  in !HTTP").await.unwrap();
    assert_eq!(
        listed(&findings),
        [(1, "One", "https://one.example/?a=1&b=2"), (2, "Two", "https://two.example/")]
    );
    assert!(findings.sources.iter().all(|source| source.found_by == ["searxng"]));
}

#[tokio::test]
async fn no_more_is_taken_than_is_wanted() {
    let many: Vec<(String, String)> =
        (0..40).map(|n| (format!("Page {n}"), format!("https://many.example/{n}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(title, url)| (title.as_str(), url.as_str())).collect();
    let server = answering(json(200, &page(&many))).await;
    let findings = search(&*searxng(server.uri()), "topic").await.unwrap();
    assert_eq!(findings.sources.len(), 12);
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_found_stays_when_a_further_page_fails() {
    let server = MockServer::start().await;
    let first = Mock::given(query_param("pageno", "1"));
    first.respond_with(json(200, &page(&[("One", "https://one.example/")]))).mount(&server).await;
    Mock::given(query_param("pageno", "2")).respond_with(text(500, "")).mount(&server).await;
    let findings = search(&*searxng(server.uri()), "topic").await.unwrap();
    assert_eq!(listed(&findings), [(1, "One", "https://one.example/")]);
}

#[tokio::test]
async fn nothing_found_is_no_error_if_all_engines_looked() {
    let server = answering(json(200, &page(&[]))).await;
    assert_eq!(listed(&search(&*searxng(server.uri()), "xyzzy").await.unwrap()), []);
}

#[tokio::test]
async fn every_error_is_classified() {
    use ErrorClass::{Permanent, Transient};
    let silent = |engines: Value| json(200, &json!({"results": [], "unresponsive_engines": engines}));
    let mut failures = vec![
        Failure::new(text(403, "<title>403 Forbidden</title>"), Permanent, None, "search.formats"),
        Failure::new(
            silent(json!([["google", "timeout"], ["bing", "CAPTCHA"]])),
            Transient,
            None,
            "google (timeout), bing (CAPTCHA)",
        ),
        Failure::new(silent(json!(["duckduckgo"])), Transient, None, "duckduckgo"),
        Failure::new(json(200, &json!({"hello": "world"})), Permanent, None, "no list of results"),
    ];
    failures.extend(common_failures());
    for failure in failures {
        fails(failure, searxng).await;
    }
}

#[tokio::test]
async fn connections_may_fail() {
    survives_bad_connections(|url, timeout| Box::new(Searxng::new(config(url, timeout)).unwrap())).await;
}
