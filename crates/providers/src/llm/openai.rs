//! The dialect of chat completions.

use quillwork_app::ports::model::{Finish, Prompt, Role};
use serde_json::{Value, json};

use super::config::OpenAiOptions;
use super::piece::{End, Piece, joined, text};

pub(super) const PATH: &str = "chat/completions";

pub(super) fn request(options: &OpenAiOptions, model: &str, prompt: &Prompt) -> Value {
    let system = (!prompt.system.is_empty()).then(|| json!({"role": "system", "content": prompt.system}));
    let turns = prompt.messages.iter().map(|message| {
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!({"role": role, "content": message.text})
    });
    let mut body = json!({
        "model": model,
        "messages": system.into_iter().chain(turns).collect::<Vec<_>>(),
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    body[options.max_tokens_field.as_str()] = prompt.max_output_tokens.into();
    if options.send_temperature {
        body["temperature"] = (f64::from(prompt.temperature_milli) / 1_000.0).into();
    }
    body
}

/// Reads the data of one event, or a whole answer: servers that do not stream send one.
pub(super) fn piece(data: &str) -> Result<Piece, serde_json::Error> {
    if data.trim() == "[DONE]" {
        return Ok(Piece { is_last: true, ..Piece::default() });
    }
    let value: Value = serde_json::from_str(data)?;
    // Some send null in place of what they do not have.
    let error = value.get("error").filter(|error| !error.is_null()).cloned();
    let choice = value.pointer("/choices/0");
    let whole = choice.and_then(|choice| choice.get("message")).filter(|message| !message.is_null());
    let delta = whole.or_else(|| choice.and_then(|choice| choice.get("delta")));
    let content = joined(delta.and_then(|delta| delta.get("content")));
    let is_refusal = delta.is_some_and(|delta| text(delta, "/refusal").is_some());
    let is_thought = delta.is_some_and(|delta| {
        ["/reasoning_content", "/reasoning", "/thinking"].iter().any(|field| text(delta, field).is_some())
    });
    let reason = choice.and_then(|choice| text(choice, "/finish_reason")).map(End::of);
    let usage = [value.get("usage"), value.pointer("/x_groq/usage")];
    let tokens = |name: &str| usage.iter().flatten().find_map(|usage| usage.get(name)?.as_u64());
    Ok(Piece {
        text: content,
        is_thought,
        end: if is_refusal { Some(End::Finish(Finish::Filtered)) } else { reason },
        input_tokens: tokens("prompt_tokens"),
        output_tokens: tokens("completion_tokens"),
        model: text(&value, "/model").map(str::to_owned),
        id: text(&value, "/id").map(str::to_owned),
        is_last: whole.is_some(),
        error: error.or_else(|| is_flat_error(&value).then(|| value.clone())),
    })
}

/// An error as older vLLM and others have it: without an object of its own.
fn is_flat_error(value: &Value) -> bool {
    let is_error = text(value, "/object") == Some("error") || value.is_array();
    is_error || (value.get("choices").is_none() && text(value, "/message").is_some())
}

#[cfg(test)]
mod tests {
    use quillwork_app::ports::model::Message;

    use super::*;

    fn prompt() -> Prompt {
        let message = |role, text: &str| Message { role, text: text.into() };
        Prompt {
            system: "Cite.".into(),
            messages: vec![
                message(Role::User, "q"),
                message(Role::Assistant, "a"),
                message(Role::User, "again"),
            ],
            max_output_tokens: 1_200,
            temperature_milli: 300,
        }
    }

    #[test]
    fn requests() {
        let expected = json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "Cite."},
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
                {"role": "user", "content": "again"},
            ],
            "temperature": 0.3, "max_tokens": 1200, "stream": true, "stream_options": {"include_usage": true},
        });
        assert_eq!(request(&OpenAiOptions::default(), "m", &prompt()), expected);
        let options =
            OpenAiOptions { max_tokens_field: "max_completion_tokens".into(), send_temperature: false };
        let body = request(&options, "o9", &Prompt { system: String::new(), ..prompt() });
        assert_eq!(body["max_completion_tokens"], 1_200);
        assert_eq!((body.get("max_tokens"), body.get("temperature")), (None, None));
        assert_eq!(body["messages"][0]["role"], "user");
    }

    #[test]
    fn pieces() {
        let said = |text: &str| Piece { text: text.into(), ..Piece::default() };
        let ends = |end| Piece { end: Some(end), ..Piece::default() };
        let used = |input, output| Piece {
            input_tokens: Some(input),
            output_tokens: Some(output),
            ..Piece::default()
        };
        let cases = [
            ("[DONE]", Piece { is_last: true, ..Piece::default() }),
            (r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#, Piece::default()),
            (r#"{"choices":[{"delta":{"content":"tok"},"finish_reason":null}]}"#, said("tok")),
            (r#"{"choices":[{"delta":{"content":[{"type":"text","text":"tok"}]}}]}"#, said("tok")),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, ends(End::Finish(Finish::Stop))),
            (r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#, ends(End::Finish(Finish::Length))),
            (r#"{"choices":[{"finish_reason":"content_filter"}]}"#, ends(End::Finish(Finish::Filtered))),
            (r#"{"choices":[{"finish_reason":"tool_calls"}]}"#, ends(End::Tool)),
            (r#"{"choices":[{"delta":{"refusal":"I cannot"}}]}"#, ends(End::Finish(Finish::Filtered))),
            (r#"{"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":55}}"#, used(40, 55)),
            (r#"{"choices":null,"usage":null,"error":null}"#, Piece::default()),
            (r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":4,"completion_tokens":5}}}"#, used(4, 5)),
            (r#"{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":1.5}}"#, Piece::default()),
            (
                r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
                Piece { is_thought: true, ..Piece::default() },
            ),
            (r#"{"error":"text"}"#, Piece { error: Some("text".into()), ..Piece::default() }),
            (
                r#"{"object":"error","message":"m"}"#,
                Piece { error: Some(json!({"object": "error", "message": "m"})), ..Piece::default() },
            ),
            (
                r#"{"id":"c1","model":"real","choices":[{"finish_reason":"stop","message":{"content":"all"}}]}"#,
                Piece {
                    text: "all".into(),
                    end: Some(End::Finish(Finish::Stop)),
                    id: Some("c1".into()),
                    model: Some("real".into()),
                    is_last: true,
                    ..Piece::default()
                },
            ),
        ];
        for (data, expected) in cases {
            assert_eq!(piece(data).unwrap(), expected, "{data}");
        }
        assert!(piece("<html>").is_err());
    }
}
