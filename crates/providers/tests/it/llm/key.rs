//! Keys stay where they belong, and what cannot be an endpoint is said without them.

use super::*;
use crate::log::Log;

#[tokio::test]
async fn a_key_is_never_shown_nor_carried_elsewhere() {
    let log = Log::listen();
    let thief = serving(good()).await;
    let redirect =
        ResponseTemplate::new(307).insert_header("location", format!("{}/v1/chat/completions", thief.uri()));
    let echo = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}.","code":"{KEY}"}}}}"#);
    let answers = [
        redirect,
        ResponseTemplate::new(401).set_body_raw(echo, "application/json"),
        ResponseTemplate::new(500).set_body_string(format!("{}{KEY}", "x".repeat(290))),
        answer("text/event-stream", &format!("data: {{\"error\":\"{KEY}\"}}\n\n")),
        answer("text/event-stream", &format!("data: {KEY}\n\n")),
        ResponseTemplate::new(302),
    ];
    for answer in answers {
        let server = serving(answer).await;
        let config = endpoint("m", openai(), &server.uri());
        assert!(!format!("{config:?}").contains(KEY));
        let error = ask(&balancer(vec![config])).await.0.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sk-live"), "{error}");
    }
    assert_eq!(thief.received_requests().await.unwrap().len(), 0);
    // That the test server logs what it gets is not our doing.
    let ours = log.text().lines().filter(|line| line.contains("quillwork")).collect::<String>();
    assert!(ours.contains("quillwork") && !ours.contains("sk-live"), "{ours}");
}

#[tokio::test]
async fn what_cannot_be_an_endpoint() {
    let valid = || endpoint("m", openai(), "http://127.0.0.1:1");
    let at = |url: &str| EndpointConfig { base_url: url.into(), ..valid() };
    let header = vec![("bad header".to_owned(), "x".to_owned())];
    let cases = [
        (vec![], "no language model is configured"),
        (vec![valid(), valid()], "m stands twice"),
        (vec![at("api.openai.com/v1")], "is not a base URL"),
        (vec![at("ftp://h/v1")], "is not a base URL"),
        (vec![at("http://h/v1?key=hunter2")], "is not a base URL"),
        (vec![at("http://user:hunter2@h/v1")], "must not hold a user or password"),
        (vec![at("user:hunter2@h/v1")], "must not hold a user or password"),
        (
            vec![EndpointConfig { key: Some(Secret::new("hunter2\n3")), ..valid() }],
            "its key holds characters",
        ),
        (vec![EndpointConfig { headers: header, ..valid() }], "\"bad header\" or its value"),
    ];
    for (configs, part) in cases {
        let made = balancer_with(configs, PriceTable::default(), &ProviderMetrics::default());
        let error = made.err().unwrap_or_else(|| panic!("{part}")).to_string();
        assert!(error.contains(part) && !error.contains("hunter"), "{error}");
    }
}
