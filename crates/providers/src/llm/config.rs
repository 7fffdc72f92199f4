//! What an endpoint is made from.

use std::time::Duration;

use quillwork_app::ports::rate_limiter::Rate;

use crate::secret::Secret;

/// One model behind one address.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointConfig {
    /// Unique among the endpoints; stands in events, metrics and messages.
    pub name: String,
    pub dialect: Dialect,
    /// With the version, for example `https://api.openai.com/v1`.
    pub base_url: String,
    pub model: String,
    pub key: Option<Secret>,
    /// Sent with each request.
    pub headers: Vec<(String, String)>,
    /// How often it is chosen among others. One of weight 0 is asked when no other can be.
    pub weight: u32,
    /// Calls per time, with this key.
    pub rate: Option<Rate>,
    /// Calls at once from this process.
    pub concurrency: usize,
    pub timeouts: Timeouts,
    /// The most that prompt and answer may have together, if known.
    pub context_tokens: Option<u64>,
}

/// How a provider is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Chat completions: OpenAI, Groq, Gemini, OpenRouter, Ollama, vLLM, llama.cpp.
    OpenAi(OpenAiOptions),
    /// Anthropic's messages.
    Anthropic,
}

/// Where servers of one dialect differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAiOptions {
    /// `max_tokens`, or `max_completion_tokens` for newer models of OpenAI.
    pub max_tokens_field: String,
    /// Some models refuse any other temperature than their own.
    pub send_temperature: bool,
}

/// How long to wait for what. All are failures of the provider, not of the job's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the request to the first text. A local server may load its model first.
    pub first_token: Duration,
    /// Between two pieces of text.
    pub idle: Duration,
}

/// Why an endpoint cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The URL is not repeated: it may hold a key.
    #[error(
        "language model {0}: its `url` is not a base URL, without `?`; write for example https://api.openai.com/v1"
    )]
    BaseUrl(String),
    #[error("language model {0}: its `url` must not hold a user or password; set the `key` instead")]
    Credentials(String),
    #[error("language model {0}: its key holds characters that a header cannot carry")]
    Key(String),
    #[error("language model {name}: the header {header:?} or its value is not one")]
    Header { name: String, header: String },
    #[error("no language model is configured")]
    None,
    #[error("language model {0} stands twice in the configuration; give one another name")]
    Twice(String),
    #[error("language model {name}: no HTTP client can be made: {reason}")]
    Client { name: String, reason: String },
}

impl EndpointConfig {
    pub fn new(name: &str, dialect: Dialect, base_url: &str, model: &str) -> Self {
        Self {
            name: name.into(),
            dialect,
            base_url: base_url.into(),
            model: model.into(),
            key: None,
            headers: vec![],
            weight: 1,
            rate: None,
            concurrency: 5,
            timeouts: Timeouts::default(),
            context_tokens: None,
        }
    }
}

impl Default for OpenAiOptions {
    fn default() -> Self {
        Self { max_tokens_field: "max_tokens".into(), send_temperature: true }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_token: Duration::from_secs(60),
            idle: Duration::from_secs(30),
        }
    }
}
