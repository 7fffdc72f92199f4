//! Language models behind real HTTP: what is sent, and what answers of all providers mean.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::model::{
    Completion, DraftSink, FailedCall, Finish, LanguageModel as _, Message, Prompt, Role, TokenUsage,
};
use quillwork_app::ports::provider::ProviderError;
use quillwork_app::ports::rate_limiter::RateLimiter;
use quillwork_domain::job::ErrorClass;
use quillwork_providers::llm::{
    Balancer, Dialect, EndpointConfig, InvalidEndpoint, OpenAiOptions, PriceTable,
};
use quillwork_providers::rate_limit::memory::MemoryLimiter;
use quillwork_providers::resilience::ProviderMetrics;
use quillwork_providers::secret::Secret;
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

mod balancer;
mod key;
mod real;
mod stream;

const KEY: &str = "sk-live-0123456789abcdef";

fn openai() -> Dialect {
    Dialect::OpenAi(OpenAiOptions::default())
}

/// An endpoint at `url`, whose name is also that of its model.
fn endpoint(name: &str, dialect: Dialect, url: &str) -> EndpointConfig {
    let key = Some(Secret::new(KEY));
    EndpointConfig { key, ..EndpointConfig::new(name, dialect, &format!("{url}/v1"), name) }
}

fn balancer(configs: Vec<EndpointConfig>) -> Balancer {
    balancer_with(configs, PriceTable::default(), &ProviderMetrics::default()).unwrap()
}

fn balancer_with(
    configs: Vec<EndpointConfig>,
    prices: PriceTable,
    metrics: &ProviderMetrics,
) -> Result<Balancer, InvalidEndpoint> {
    let limiter: Arc<dyn RateLimiter> = Arc::new(MemoryLimiter::default());
    Balancer::new(configs, prices, &limiter, metrics)
}

/// 36 characters: about 10 tokens.
fn prompt() -> Prompt {
    Prompt {
        system: "Only what the sources say.".into(),
        messages: vec![Message { role: Role::User, text: "leases [1]".into() }],
        max_output_tokens: 1_200,
        temperature_milli: 300,
    }
}

/// What watchers see, a restart as `|`.
#[derive(Default)]
struct Seen(String);

impl DraftSink for Seen {
    fn push(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn restart(&mut self) {
        self.0.push('|');
    }

    fn billed(&mut self, call: FailedCall) {
        let FailedCall { provider, usage, cost_micros, prices, .. } = call;
        self.0 += &format!(
            "<{provider} billed {} in, {} out, {cost_micros} by {prices:?}>",
            usage.input, usage.output
        );
    }
}

async fn ask(balancer: &Balancer) -> (Result<Completion, ProviderError>, String) {
    let mut seen = Seen::default();
    let done = balancer.complete(&prompt(), &Call::within(Duration::from_secs(60)), &mut seen).await;
    (done, seen.0)
}

async fn serving(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    server
}

fn answer(kind: &str, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body.to_owned(), kind)
}

/// The events of a stream.
fn sse(events: &[&str]) -> String {
    events.iter().map(|data| format!("data: {data}\n\n")).collect()
}

fn good() -> ResponseTemplate {
    let events =
        [r#"{"model":"real","choices":[{"delta":{"content":"done"},"finish_reason":"stop"}]}"#, "[DONE]"];
    answer("text/event-stream", &sse(&events))
}

fn used(input: u64, output: u64) -> TokenUsage {
    TokenUsage { input, output, estimated: false }
}

fn estimated(input: u64, output: u64) -> TokenUsage {
    TokenUsage { input, output, estimated: true }
}

#[tokio::test]
async fn good_answers_of_all_providers() {
    use Finish::{Filtered, Length, Stop};
    let stream = "text/event-stream; charset=utf-8";
    let llama = sse(&[
        r#"{"id":"chatcmpl-1","model":"real","choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}]}"#,
        r#"{"model":"real","choices":[{"delta":{"content":"Ein "}}]}"#,
        r#"{"model":"real","choices":[{"delta":{"content":"Wört"}}]}"#,
        r#"{"model":"real","choices":[{"finish_reason":"stop","index":0,"delta":{}}]}"#,
        r#"{"model":"real","choices":[],"usage":{"prompt_tokens":40,"completion_tokens":55,"total_tokens":95},"timings":{}}"#,
        "[DONE]",
    ]);
    let openrouter = format!(
        ": OPENROUTER PROCESSING\n\n{}: OPENROUTER PROCESSING\n\n{}",
        sse(&[r#"{"id":"gen-1","choices":[{"delta":{"content":"Hi","reasoning":null}}],"error":null}"#]),
        sse(&[
            r#"{"choices":[{"delta":{},"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            "[DONE]"
        ])
    );
    let groq = sse(&[
        r#"{"choices":[{"delta":{"content":"Hi"}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"req_1","usage":{"prompt_tokens":3,"completion_tokens":4}}}"#,
        "[DONE]",
    ]);
    let uncounted = sse(&[r#"{"choices":[{"delta":{"content":"four tokens"},"finish_reason":"stop"}]}"#]);
    let absurd = sse(&[
        r#"{"choices":[{"delta":{"content":"four tokens"},"finish_reason":"stop"}],"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551615}}"#,
        "[DONE]",
    ]);
    let empty = sse(&[r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, "[DONE]"]);
    let filtered = sse(&[r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#, "[DONE]"]);
    let whole = r#"{"id":"x","model":"real","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"all"}}],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#;
    let anthropic = [
        (
            "message_start",
            r#"{"type":"message_start","message":{"id":"msg_1","model":"real","content":[],"usage":{"input_tokens":12,"output_tokens":1}}}"#,
        ),
        (
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        ("ping", r#"{"type":"ping"}"#),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
        ),
        ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#),
        (
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":34}}"#,
        ),
        ("message_stop", r#"{"type":"message_stop"}"#),
    ];
    let anthropic: String =
        anthropic.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect();
    let claude = r#"{"id":"msg_2","type":"message","content":[{"type":"text","text":"all"}],"model":"real","stop_reason":"max_tokens","usage":{"input_tokens":7,"output_tokens":8}}"#;
    let cases = [
        ("llama.cpp", openai(), stream, llama.as_str(), "Ein Wört", Stop, used(40, 55), "real"),
        ("OpenRouter", openai(), stream, &openrouter, "Hi", Length, used(1, 2), "m"),
        ("Groq", openai(), stream, &groq, "Hi", Stop, used(3, 4), "m"),
        (
            "without counts and [DONE]",
            openai(),
            stream,
            &uncounted,
            "four tokens",
            Stop,
            estimated(10, 4),
            "m",
        ),
        ("absurd counts", openai(), stream, &absurd, "four tokens", Stop, estimated(10, 4), "m"),
        ("nothing to say", openai(), stream, &empty, "", Stop, estimated(10, 0), "m"),
        ("withheld", openai(), stream, &filtered, "", Filtered, estimated(10, 0), "m"),
        ("without streaming", openai(), "application/json", whole, "all", Stop, used(5, 6), "real"),
        ("Anthropic", Dialect::Anthropic, stream, &anthropic, "Hi", Stop, used(12, 34), "real"),
        (
            "Anthropic, whole",
            Dialect::Anthropic,
            "application/json",
            claude,
            "all",
            Length,
            used(7, 8),
            "real",
        ),
    ];
    for (what, dialect, kind, body, text, finish, usage, model) in cases {
        let server = serving(answer(kind, body)).await;
        let (done, seen) = ask(&balancer(vec![endpoint("m", dialect, &server.uri())])).await;
        let done = done.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((done.text.as_str(), seen.as_str(), done.finish), (text, text, finish), "{what}");
        assert_eq!((done.usage, done.model.as_str(), done.provider.as_str()), (usage, model, "m"), "{what}");
    }
}

#[tokio::test]
async fn what_is_sent() {
    let server = MockServer::start().await;
    let expected =
        serde_json::json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}});
    Mock::given(path("/v1/chat/completions"))
        .and(header("authorization", format!("Bearer {KEY}")))
        .and(header("x-title", "quill"))
        .and(body_partial_json(expected))
        .respond_with(good().insert_header("x-request-id", "req_7"))
        .mount(&server)
        .await;
    Mock::given(path("/v1/messages"))
        .and(header("x-api-key", KEY))
        .and(header("anthropic-version", "2023-06-01"))
        .and(body_partial_json(serde_json::json!({"max_tokens": 1200, "system": prompt().system})))
        .respond_with(answer(
            "application/json",
            r#"{"type":"message","id":"msg_1","content":[{"text":"x"}],"stop_reason":"end_turn"}"#,
        ))
        .mount(&server)
        .await;
    let headers = vec![("x-title".to_owned(), "quill".to_owned())];
    for (dialect, request_id) in [(openai(), "req_7"), (Dialect::Anthropic, "msg_1")] {
        // A slash at the end does not matter.
        let config = endpoint("m", dialect, &server.uri());
        let config =
            EndpointConfig { base_url: config.base_url.clone() + "/", headers: headers.clone(), ..config };
        let done = ask(&balancer(vec![config])).await.0.unwrap();
        assert_eq!(done.request_id.as_deref(), Some(request_id));
    }
}

#[tokio::test]
async fn errors_of_all_providers() {
    use ErrorClass::*;
    let stream = "text/event-stream";
    let json = "application/json";
    let status = |status: u16, body: &str| ResponseTemplate::new(status).set_body_raw(body.to_owned(), json);
    let in_stream = sse(&[
        r#"{"choices":[{"delta":{"content":"He"}}]}"#,
        r#"{"error":{"code":502,"message":"Provider disconnected"},"choices":[{"delta":{},"finish_reason":"error"}]}"#,
    ]);
    let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let tool = sse(&[r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#, "[DONE]"]);
    let cases = [
        (
            openai(),
            status(401, r#"{"error":{"message":"Invalid API Key","code":"invalid_api_key"}}"#),
            Permanent,
            None,
            "Invalid API Key (request req_9); check its key",
        ),
        (
            openai(),
            status(404, r#"{"error":{"message":"model not found"}}"#),
            Permanent,
            None,
            "check its `url` and the name of its model",
        ),
        (
            openai(),
            status(400, r#"{"error":{"code":400,"message":"bad"}}"#),
            Permanent,
            None,
            "HTTP 400: bad",
        ),
        (
            openai(),
            status(400, r#"{"error":{"code":400,"message":"too big","type":"exceed_context_size_error"}}"#),
            TooLarge,
            None,
            "too big",
        ),
        (
            openai(),
            status(402, r#"{"error":{"code":402,"message":"no credits"}}"#),
            Quota,
            None,
            "raise it, or wait",
        ),
        (
            openai(),
            status(429, r#"{"error":{"message":"Please try again in 5s."}}"#),
            RateLimited,
            Some(5),
            "(request req_9)",
        ),
        (
            openai(),
            status(
                429,
                r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m","details":[{"retryDelay":"34s"}]}}]"#,
            ),
            RateLimited,
            Some(34),
            "HTTP 429",
        ),
        (
            openai(),
            status(503, r#"{"error":{"code":503,"message":"Loading model"}}"#),
            Transient,
            None,
            "Loading model",
        ),
        (
            openai(),
            ResponseTemplate::new(502).set_body_raw("<html><h1>Bad Gateway</h1></html>", "text/html"),
            Transient,
            None,
            "HTTP 502: Bad Gateway",
        ),
        (
            Dialect::Anthropic,
            status(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
            Transient,
            None,
            "Overloaded",
        ),
        (
            openai(),
            answer(json, r#"{"error":{"code":429,"message":"upstream is busy"}}"#),
            RateLimited,
            None,
            "HTTP 429: upstream is busy",
        ),
        (openai(), answer(stream, &in_stream), Transient, None, "Provider disconnected"),
        (Dialect::Anthropic, answer(stream, overloaded), Transient, None, "Overloaded"),
        (
            openai(),
            answer("text/html", "<html>Sign in</html>"),
            Transient,
            None,
            "not JSON (Sign in); is its `url` right?",
        ),
        (openai(), answer(stream, "data: {oops\n\n"), Transient, None, "not JSON"),
        (openai(), answer(stream, ""), Transient, None, "ended before the answer did"),
        (
            openai(),
            answer(stream, &sse(&[r#"{"choices":[{"delta":{"content":"He"}}]}"#])),
            Transient,
            None,
            "ended before the answer did",
        ),
        (openai(), answer(stream, &sse(&["[DONE]"])), Transient, None, "empty and has no end"),
        (openai(), answer(json, "{}"), Transient, None, "ended before the answer did"),
        (openai(), answer(stream, &tool), BadOutput, None, "called for a tool"),
    ];
    let checks = cases.map(|(dialect, answer, class, wait, part)| async move {
        let server = serving(answer.insert_header("x-request-id", "req_9")).await;
        let error = ask(&balancer(vec![endpoint("m", dialect, &server.uri())])).await.0.unwrap_err();
        assert_eq!((error.class, error.retry_after), (class, wait.map(Duration::from_secs)), "{error}");
        assert!(
            error.message.starts_with("m (m): ") && error.message.contains(part),
            "{part} is not in: {error}"
        );
    });
    futures::future::join_all(checks).await;
}

/// What a registry shows.
fn shown(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text
}
