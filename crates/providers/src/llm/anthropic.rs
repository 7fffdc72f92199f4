//! The dialect of Anthropic's messages.

use quillwork_app::ports::model::{Prompt, Role};
use serde_json::{Value, json};

use super::piece::{End, Piece, joined, text};

pub(super) const PATH: &str = "messages";

/// The version that [`request`] and [`piece`] speak.
pub(super) const VERSION: &str = "2023-06-01";

pub(super) fn request(model: &str, prompt: &Prompt) -> Value {
    let turns = prompt.messages.iter().map(|message| {
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!({"role": role, "content": message.text})
    });
    let mut body = json!({
        "model": model,
        "messages": turns.collect::<Vec<_>>(),
        "max_tokens": prompt.max_output_tokens,
        // Their scale ends at 1.
        "temperature": f64::from(prompt.temperature_milli.min(1_000)) / 1_000.0,
        "stream": true,
    });
    if !prompt.system.is_empty() {
        body["system"] = prompt.system.clone().into();
    }
    body
}

/// Reads the data of one event, or a whole answer.
pub(super) fn piece(data: &str) -> Result<Piece, serde_json::Error> {
    let value: Value = serde_json::from_str(data)?;
    let kind = text(&value, "/type").unwrap_or_default();
    let mut piece = Piece::default();
    match kind {
        "message_start" => of_message(&mut piece, &value["message"]),
        "message" => {
            of_message(&mut piece, &value);
            piece.text = joined(value.get("content"));
            piece.is_last = true;
        }
        "content_block_start" => piece.text = joined(value.pointer("/content_block/text")),
        "content_block_delta" => {
            piece.text = joined(value.pointer("/delta/text"));
            piece.is_thought = text(&value, "/delta/thinking").is_some();
        }
        "message_delta" => {
            piece.end = text(&value, "/delta/stop_reason").map(End::of);
            of_usage(&mut piece, &value["usage"]);
        }
        "message_stop" => piece.is_last = true,
        "error" => piece.error = Some(value),
        // `ping`, the ends of blocks, and what will be invented.
        _ => piece.error = value.get("error").filter(|error| !error.is_null()).cloned(),
    }
    Ok(piece)
}

fn of_message(piece: &mut Piece, message: &Value) {
    piece.model = text(message, "/model").map(str::to_owned);
    piece.id = text(message, "/id").map(str::to_owned);
    piece.end = text(message, "/stop_reason").map(End::of);
    of_usage(piece, &message["usage"]);
}

/// Input is counted in three parts: what was sent, and what was written to and read from their cache.
fn of_usage(piece: &mut Piece, usage: &Value) {
    let tokens = |name: &str| usage.get(name).and_then(Value::as_u64);
    let cached =
        ["cache_creation_input_tokens", "cache_read_input_tokens"].iter().filter_map(|name| tokens(name));
    piece.input_tokens = tokens("input_tokens").map(|input| cached.fold(input, u64::saturating_add));
    piece.output_tokens = tokens("output_tokens");
}

#[cfg(test)]
mod tests {
    use quillwork_app::ports::model::{Finish, Message};

    use super::*;

    #[test]
    fn requests() {
        let mut prompt = Prompt {
            system: "Cite.".into(),
            messages: vec![Message { role: Role::User, text: "q".into() }],
            max_output_tokens: 1_200,
            temperature_milli: 1_500,
        };
        let expected = json!({
            "model": "m", "max_tokens": 1200, "system": "Cite.", "temperature": 1.0, "stream": true,
            "messages": [{"role": "user", "content": "q"}],
        });
        assert_eq!(request("m", &prompt), expected);
        prompt.system.clear();
        assert_eq!(request("m", &prompt).get("system"), None);
    }

    #[test]
    fn pieces() {
        let cases = [
            (r#"{"type":"ping"}"#, Piece::default()),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                Piece::default(),
            ),
            (r#"{"type":"content_block_stop","index":0}"#, Piece::default()),
            (r#"{"type":"something_new"}"#, Piece::default()),
            (
                r#"{"type":"message_start","message":{"id":"msg_1","model":"real","content":[],"stop_reason":null,
                    "usage":{"input_tokens":12,"cache_read_input_tokens":100,"output_tokens":1}}}"#,
                Piece {
                    id: Some("msg_1".into()),
                    model: Some("real".into()),
                    input_tokens: Some(112),
                    output_tokens: Some(1),
                    ..Piece::default()
                },
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"tok"}}"#,
                Piece { text: "tok".into(), ..Piece::default() },
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
                Piece { is_thought: true, ..Piece::default() },
            ),
            (
                r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":34}}"#,
                Piece { end: Some(End::Finish(Finish::Length)), output_tokens: Some(34), ..Piece::default() },
            ),
            (r#"{"type":"message_stop"}"#, Piece { is_last: true, ..Piece::default() }),
            (
                r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
                Piece {
                    error: Some(json!({"type": "error", "error": {"type": "overloaded_error"}})),
                    ..Piece::default()
                },
            ),
            (
                r#"{"type":"message","content":[{"type":"text","text":"all"}],"stop_reason":"end_turn",
                    "usage":{"input_tokens":12,"output_tokens":34}}"#,
                Piece {
                    text: "all".into(),
                    end: Some(End::Finish(Finish::Stop)),
                    input_tokens: Some(12),
                    output_tokens: Some(34),
                    is_last: true,
                    ..Piece::default()
                },
            ),
        ];
        for (data, expected) in cases {
            assert_eq!(piece(data).unwrap(), expected, "{data}");
        }
    }
}
