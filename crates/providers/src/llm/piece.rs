//! A piece of an answer, whichever dialect it came in.

use quillwork_app::ports::model::Finish;
use serde_json::Value;

/// What one event of a stream, or one whole answer, says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// The model is thinking: a sign of life, and not part of the answer.
    pub(super) is_thought: bool,
    pub(super) end: Option<End>,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) model: Option<String>,
    pub(super) id: Option<String>,
    /// Nothing follows.
    pub(super) is_last: bool,
    pub(super) error: Option<Value>,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Finish(Finish),
    /// It called for a tool, and was offered none.
    Tool,
    /// The server gave up.
    Error,
}

impl Piece {
    /// True if the model is at work: pings and empty pieces are not a sign of that.
    pub(super) fn is_progress(&self) -> bool {
        !self.text.is_empty() || self.is_thought || self.end.is_some() || self.is_last
    }
}

impl End {
    /// Reasons as they are known from all providers; an unknown one is taken for a good end.
    pub(super) fn of(reason: &str) -> Self {
        match reason.to_ascii_lowercase().as_str() {
            "length" | "max_tokens" | "model_length" | "model_context_window_exceeded" => {
                Self::Finish(Finish::Length)
            }
            "content_filter" | "refusal" | "safety" | "recitation" | "blocklist" | "prohibited_content" => {
                Self::Finish(Finish::Filtered)
            }
            "tool_calls" | "function_call" | "tool_use" | "pause_turn" => Self::Tool,
            "error" => Self::Error,
            _ => Self::Finish(Finish::Stop),
        }
    }
}

/// The text at `pointer`, if there is one that is not empty.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// A text, or a list of parts with texts.
pub(super) fn joined(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| text(part, "/text")).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => String::new(),
    }
}
