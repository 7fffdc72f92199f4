//! Asking a language model.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::ports::call::Call;
use crate::ports::provider::ProviderError;

/// One model behind one address, or several among which each call chooses.
#[async_trait]
pub trait LanguageModel: Send + Sync + 'static {
    /// Completes the prompt, and hands the text over while it is written.
    ///
    /// A cut or malformed answer is an error; an answer that ends early or is empty is `Ok`, with its [`Finish`].
    async fn complete(
        &self,
        prompt: &Prompt,
        call: &Call,
        draft: &mut dyn DraftSink,
    ) -> Result<Completion, ProviderError>;
}

/// Receives what comes before the answer.
pub trait DraftSink: Send {
    /// More text.
    fn push(&mut self, text: &str);

    /// What came so far counts no more: the call begins anew, perhaps with another model.
    fn restart(&mut self);

    /// A call that failed was billed all the same. Another one may be made for the same prompt.
    fn billed(&mut self, call: FailedCall);
}

/// A call that has cost something and gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCall {
    /// The name that the provider has in the configuration.
    pub provider: String,
    /// As the provider named it, or as the configuration does.
    pub model: String,
    pub usage: TokenUsage,
    /// In millionths of a US dollar, rounded up.
    pub cost_micros: u64,
    /// The version of the price table that the cost was taken from; absent if the model has no price there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
    /// What went wrong, for people.
    pub error: String,
}

/// For callers that do not watch.
#[derive(Clone, Copy, Debug)]
pub struct Unseen;

impl DraftSink for Unseen {
    fn push(&mut self, _text: &str) {}

    fn restart(&mut self) {}

    fn billed(&mut self, _call: FailedCall) {}
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    pub system: String,
    /// In turns, beginning and ending with the user.
    pub messages: Vec<Message>,
    /// The answer is cut after this many tokens.
    pub max_output_tokens: u32,
    /// In thousandths, 0 to 2000.
    pub temperature_milli: u16,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    User,
    Assistant,
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    pub text: String,
    pub finish: Finish,
    /// The name that the provider has in the configuration.
    pub provider: String,
    /// As the provider named it in its answer.
    pub model: String,
    pub usage: TokenUsage,
    /// The provider's name for the request, to ask its support about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// In millionths of a US dollar, rounded up.
    pub cost_micros: u64,
    /// The version of the price table that the cost was taken from; absent if the model has no price there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
    /// An answer from before: nothing was paid for it this time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_cache: bool,
    /// Why this model was chosen, and which were passed over, for people.
    pub choice: String,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model was done.
    Stop,
    /// It ran into the most that it may write.
    Length,
    /// The provider withheld the rest.
    Filtered,
}

/// Tokens as the provider counted them, or an estimate where it did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    pub input: u64,
    pub output: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}
