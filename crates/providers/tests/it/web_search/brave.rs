use quillwork_providers::secret::Secret;
use quillwork_providers::web_search::brave::{Brave, BraveConfig};
use serde_json::json;
use wiremock::matchers::{header, query_param};

use super::*;

const KEY: &str = "BSA-hunter2";

fn config(base_url: String, timeout: Duration) -> BraveConfig {
    BraveConfig { base_url, timeout, ..BraveConfig::new(Secret::new(KEY)) }
}

fn brave(base_url: String) -> Box<dyn Search> {
    Box::new(Brave::new(config(base_url, PATIENCE)).unwrap())
}

#[tokio::test]
async fn pages_are_listed_with_plain_titles() {
    let server = MockServer::start().await;
    let body = json!({"type": "search", "query": {"original": "caching"}, "web": {"type": "search", "results": [
        {"title": "<strong>Caching</strong> &amp; you", "url": "https://one.example/a", "description": "All about <strong>caching</strong>", "age": "2 days"},
        {"title": "No address"},
        {"title": "FTP", "url": "ftp://two.example/"},
        {"title": "Three &lt;3", "url": "https://three.example", "extra_snippets": ["…"]},
    ]}});
    Mock::given(method("GET"))
        .and(header("x-subscription-token", KEY))
        .and(header("accept", "application/json"))
        .and(query_param("q", "caching"))
        .and(query_param("count", "12"))
        .and(query_param("offset", "0"))
        .and(query_param("search_lang", "de"))
        .respond_with(
            json(200, &body)
                .insert_header("x-ratelimit-limit", "1, 15000")
                .insert_header("x-ratelimit-remaining", "0, 14999")
                .insert_header("x-ratelimit-reset", "1, 1419704"),
        )
        .expect(1)
        .mount(&server)
        .await;
    let config = BraveConfig { language: Some("de".into()), ..config(server.uri(), PATIENCE) };
    let findings = search(&Brave::new(config).unwrap(), " caching ").await.unwrap();
    assert_eq!(
        listed(&findings),
        [(1, "Caching & you", "https://one.example/a"), (2, "Three <3", "https://three.example/")]
    );
    assert!(findings.sources.iter().all(|source| source.found_by == ["brave"]));
}

#[tokio::test]
async fn nothing_found_is_no_error() {
    let server = answering(json(200, &json!({"type": "search", "query": {}}))).await;
    assert_eq!(listed(&search(&*brave(server.uri()), "xyzzy").await.unwrap()), []);
}

#[tokio::test]
async fn every_error_is_classified() {
    use ErrorClass::{Permanent, Quota, RateLimited};
    let told = |status: u16, code: &str| {
        json(
            status,
            &json!({"type": "ErrorResponse", "error": {"status": status, "code": code, "detail": format!("bad {KEY}")}}),
        )
    };
    let limited = |code: &str, limit: &str, remaining: &str, reset: &str| {
        told(429, code)
            .insert_header("x-ratelimit-limit", limit)
            .insert_header("x-ratelimit-policy", "1;w=1, 15000;w=2592000")
            .insert_header("x-ratelimit-remaining", remaining)
            .insert_header("x-ratelimit-reset", reset)
    };
    let mut failures = vec![
        Failure::new(told(401, "UNAUTHORIZED"), Permanent, None, "UNAUTHORIZED, bad ***; check the key"),
        Failure::new(told(403, "RESOURCE_NOT_ALLOWED"), Permanent, None, "plan"),
        Failure::new(told(422, "SUBSCRIPTION_TOKEN_INVALID"), Permanent, None, "TOKEN_INVALID"),
        Failure::new(
            limited("RATE_LIMITED", "1, 15000", "0, 1000", "1, 1419704"),
            RateLimited,
            Some(1),
            "too often",
        ),
        Failure::new(
            limited("RATE_LIMITED", "1, 15000", "0, 0", "1, 1419704"),
            Quota,
            Some(1_419_704),
            "month",
        ),
        Failure::new(limited("QUOTA_LIMITED", "1, 15000", "1, 0", "1, 900"), Quota, Some(900), "month"),
        // A plan without a limit per month.
        Failure::new(
            limited("RATE_LIMITED", "20, 0", "0, 0", "1, 1419704"),
            RateLimited,
            Some(1),
            "too often",
        ),
        Failure::new(limited("RATE_LIMITED", "odd", "", ","), RateLimited, None, "too often"),
    ];
    failures.extend(common_failures());
    for failure in failures {
        fails(failure, brave).await;
    }
}

#[tokio::test]
async fn connections_may_fail() {
    survives_bad_connections(|url, timeout| Box::new(Brave::new(config(url, timeout)).unwrap())).await;
}

/// Neither in an error that repeats it, nor anywhere else, and never at another address.
#[tokio::test]
async fn the_key_is_for_one_host_only() {
    let other = answering(json(200, &json!({}))).await;
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = ResponseTemplate::new(status).insert_header("location", other.uri());
        let server = answering(elsewhere).await;
        assert_eq!(search(&*brave(server.uri()), "topic").await.unwrap_err().class, ErrorClass::Permanent);
    }
    assert_eq!(other.received_requests().await.unwrap().len(), 0);

    // The last one would be cut in the middle of the key.
    let echoes = [
        text(418, &format!("{KEY} is no key")),
        text(200, &format!("{KEY} is no key")),
        ResponseTemplate::new(302).insert_header("location", format!("/{KEY} is no key")),
        text(418, &format!("{}{KEY} is no key", "x".repeat(196))),
    ];
    for echo in echoes {
        let server = answering(echo).await;
        let error = search(&*brave(server.uri()), "topic").await.unwrap_err();
        let shown = format!("{error} {error:?} {:?}", config(server.uri(), PATIENCE));
        assert!(!shown.contains("BSA") && shown.contains("***"), "{shown}");
    }
}

#[test]
fn what_cannot_be_a_key_is_refused_without_repeating_it() {
    for key in ["", " \n", "hunter2\u{7}"] {
        let error = Brave::new(BraveConfig::new(Secret::new(key))).map(drop).unwrap_err().to_string();
        assert!(error.contains("key") && !error.contains("hunter2"), "{error}");
    }
}
