//! Several endpoints: who is asked after whom, and what is recorded of it.

use quillwork_providers::llm::Price;

use super::*;
use crate::log::Log;

/// Asked first, always.
fn first(server: &MockServer) -> EndpointConfig {
    endpoint("first", openai(), &server.uri())
}

/// Asked when the first cannot be.
fn second(server: &MockServer) -> EndpointConfig {
    EndpointConfig { weight: 0, ..endpoint("second", openai(), &server.uri()) }
}

fn refusing(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.to_owned(), "application/json")
}

async fn n_calls(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn who_is_asked_next() {
    let cut = answer("text/event-stream", &sse(&[r#"{"choices":[{"delta":{"content":"He"}}]}"#]));
    let too_large = refusing(413, "");
    // What the first does; then what watchers see, or the class of the error; and what the choice tells.
    let cases = [
        (good(), Ok("done"), "chose first (weight 1, not measured yet)"),
        (refusing(500, ""), Ok("done"), "passed over first (first): HTTP 500"),
        (refusing(429, ""), Ok("done"), "passed over first (first): HTTP 429"),
        (refusing(402, ""), Ok("done"), "passed over first (first): HTTP 402"),
        (refusing(401, ""), Ok("done"), "passed over first (first): HTTP 401"),
        (refusing(404, ""), Ok("done"), "passed over first (first): HTTP 404"),
        (
            cut,
            Ok("He<first billed 10 in, 1 out, 0 by None>|done"),
            "passed over first (first): its stream ended",
        ),
        (refusing(400, ""), Err(ErrorClass::Permanent), ""),
        (too_large, Err(ErrorClass::TooLarge), ""),
    ];
    for (answer, expected, part) in cases {
        let (one, other) = (serving(answer).await, serving(good()).await);
        let (done, seen) = ask(&balancer(vec![second(&other), first(&one)])).await;
        match (done, expected) {
            (Ok(done), Ok(expected)) => {
                assert_eq!((seen.as_str(), done.text.as_str()), (expected, "done"));
                assert!(done.choice.contains(part), "{part} is not in: {}", done.choice);
            }
            (Err(error), Err(class)) => {
                assert_eq!(error.class, class, "{error}");
                assert_eq!(n_calls(&other).await, 0);
            }
            (done, expected) => panic!("{done:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test]
async fn who_asked_for_patience_is_passed_over_with_the_reason() {
    let limited = refusing(429, "").insert_header("retry-after", "600");
    let (one, other) = (serving(limited).await, serving(good()).await);
    let balancer = balancer(vec![first(&one), second(&other)]);
    ask(&balancer).await.0.unwrap();
    let done = ask(&balancer).await.0.unwrap();
    assert!(done.choice.starts_with("chose second (weight 0, "), "{}", done.choice);
    assert!(done.choice.contains("; passed over first: not asked for 10 min ("), "{}", done.choice);
    assert_eq!((n_calls(&one).await, n_calls(&other).await), (1, 2));
}

#[tokio::test]
async fn when_nobody_can_be_asked_the_nearest_time_counts() {
    let after = |seconds: &str| refusing(429, "").insert_header("retry-after", seconds);
    let (one, other) = (serving(after("900")).await, serving(after("300")).await);
    let balancer = balancer(vec![first(&one), second(&other)]);
    for _ in 0..3 {
        let error = ask(&balancer).await.0.unwrap_err();
        assert_eq!(error.class, ErrorClass::RateLimited);
        assert_eq!(error.retry_after.map(|left| left.as_secs().div_ceil(60)), Some(5), "{error}");
    }
    assert_eq!((n_calls(&one).await, n_calls(&other).await), (1, 1), "nobody was asked again");
}

#[tokio::test]
async fn what_all_failures_together_mean() {
    use ErrorClass::*;
    let limited = || refusing(429, "").insert_header("retry-after", "300");
    let cases = [
        (refusing(402, ""), refusing(402, ""), Quota),
        (refusing(402, ""), limited(), RateLimited),
        (refusing(401, ""), limited(), RateLimited),
        (refusing(401, ""), refusing(402, ""), Quota),
        (refusing(401, ""), refusing(404, ""), Permanent),
        (refusing(500, ""), limited(), Transient),
        (refusing(500, ""), refusing(402, ""), Transient),
    ];
    for (one, other, class) in cases {
        let (one, other) = (serving(one).await, serving(other).await);
        let error = ask(&balancer(vec![first(&one), second(&other)])).await.0.unwrap_err();
        assert_eq!(error.class, class, "{error}");
        assert!(
            error.message.contains("first (first)") && error.message.contains("second (second)"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn only_contexts_that_hold_the_prompt_are_asked() {
    let (one, other) = (serving(refusing(413, "")).await, serving(good()).await);
    let sized = |config, tokens| EndpointConfig { context_tokens: Some(tokens), ..config };
    // 10 tokens of the prompt, and 1200 of the answer.
    let error = ask(&balancer(vec![sized(first(&other), 1_209)])).await.0.unwrap_err();
    assert_eq!(error.class, ErrorClass::TooLarge);
    assert_eq!(n_calls(&other).await, 0);

    let done = ask(&balancer(vec![sized(first(&one), 1_209), sized(second(&other), 1_210)])).await.0.unwrap();
    assert!(done.choice.ends_with("; passed over first: its context is too small"), "{}", done.choice);
    assert_eq!(n_calls(&one).await, 0);

    // It was said to hold it, and does not: only a larger one may do.
    for (tokens, is_asked) in [(2_000, false), (4_000, true)] {
        let done = ask(&balancer(vec![sized(first(&one), 2_000), sized(second(&other), tokens)])).await.0;
        assert_eq!(done.is_ok(), is_asked, "{done:?}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_the_last_resort_until_it_works() {
    let log = Log::listen();
    let wrong = MockServer::start().await;
    Mock::given(method("POST")).respond_with(refusing(401, "")).up_to_n_times(1).mount(&wrong).await;
    Mock::given(method("POST")).respond_with(good()).mount(&wrong).await;
    let balancer = balancer(vec![first(&wrong)]);
    assert_eq!(ask(&balancer).await.0.unwrap_err().class, ErrorClass::Permanent);
    assert!(log.text().contains("a language model failed"), "an operator should learn of it");
    ask(&balancer).await.0.unwrap();
}

#[tokio::test]
async fn prices_are_those_of_the_table() {
    let mut registry = Registry::default();
    let metrics = ProviderMetrics::register(&mut registry);
    let price = Price { input_micros_per_million: 150_000, output_micros_per_million: 600_000 };
    let models = [("first".to_owned(), price)].into();
    let prices = PriceTable { version: "2026-11".into(), models };
    let event = r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":101}}"#;
    let paid = serving(answer("text/event-stream", &sse(&[event, "[DONE]"]))).await;
    let free = serving(good()).await;
    let balancer = balancer_with(vec![first(&paid)], prices.clone(), &metrics).unwrap();
    let done = ask(&balancer).await.0.unwrap();
    // 150 and 60.6.
    assert_eq!((done.cost_micros, done.prices.as_deref()), (211, Some("2026-11")));
    let balancer = balancer_with(vec![second(&free)], prices, &metrics).unwrap();
    let done = ask(&balancer).await.0.unwrap();
    assert_eq!((done.cost_micros, done.prices), (0, None));
    let shown = shown(&registry);
    for line in [
        r#"quillwork_provider_cost_micros_total{provider="first",model="first"} 211"#,
        r#"quillwork_provider_tokens_total{provider="first",model="first",direction="input"} 1000"#,
        r#"quillwork_provider_tokens_total{provider="first",model="first",direction="output"} 101"#,
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in:\n{shown}");
    }
}
