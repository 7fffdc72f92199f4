//! Reading request bodies.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::params::clip;
use crate::problem::{Kind, Problem};

/// How much of a body that is too large is read and thrown away, so that the client gets to read the answer.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;

/// A body must arrive within this time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What problems call the body as a whole.
const WHOLE: &str = "body";

/// The body, if it is said to be JSON and has at most `limit` bytes.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let bytes = receive(headers, body, limit).await?;
    if !is_json(headers) {
        let found =
            headers.get(header::CONTENT_TYPE).map(|value| clip(&String::from_utf8_lossy(value.as_bytes())));
        return Err(Problem::new(
            Kind::UnsupportedMediaType,
            format!(
                "expected Content-Type: application/json, got {}",
                found.map_or("none".to_owned(), |found| format!("{found:?}"))
            ),
        ));
    }
    Ok(bytes)
}

/// The body, or none if it is empty; what is not empty must be said to be JSON.
pub(crate) async fn read_optional(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Option<Bytes>, Problem> {
    let bytes = receive(headers, body, limit).await?;
    if bytes.is_empty() { Ok(None) } else { read(headers, Body::from(bytes), limit).await.map(Some) }
}

async fn receive(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|n_bytes: usize| n_bytes > DRAIN_BYTES.max(limit)) {
        return Err(too_large(limit));
    }
    let mut stream = body.into_data_stream();
    match tokio::time::timeout(TIMEOUT, collect(&mut stream, limit)).await {
        Ok(received) => received,
        Err(_) => Err(Problem::field("body", format!("did not arrive within {} s", TIMEOUT.as_secs()))),
    }
}

async fn collect(stream: &mut BodyDataStream, limit: usize) -> Result<Bytes, Problem> {
    let mut first = None;
    let mut rest = BytesMut::new();
    let mut n_bytes = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Problem::field("body", "broke off before its end"))?;
        n_bytes += chunk.len();
        if n_bytes > limit {
            while let Some(Ok(chunk)) = stream.next().await {
                n_bytes += chunk.len();
                if n_bytes > DRAIN_BYTES {
                    break;
                }
            }
            return Err(too_large(limit));
        }
        // Most bodies are one chunk, and need no copy.
        match &first {
            None => first = Some(chunk),
            Some(_) => rest.extend_from_slice(&chunk),
        }
    }
    match first {
        None => Ok(Bytes::new()),
        Some(first) if rest.is_empty() => Ok(first),
        Some(first) => {
            let mut whole = BytesMut::with_capacity(first.len() + rest.len());
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&rest);
            Ok(whole.freeze())
        }
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body has more than {limit} bytes, the most that is accepted here");
    Problem::new(Kind::BodyTooLarge, detail)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(text) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Reads a JSON object of a given shape; the problem says where it is not JSON, or which field has not the shape.
pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Problem> {
    let malformed = |error| Problem::new(Kind::MalformedJson, format!("the body is not JSON: {error}"));
    if !json.trim_ascii_start().starts_with(b"{") {
        // Serde would take an array for a struct, member by member.
        serde_json::from_slice::<IgnoredAny>(json).map_err(malformed)?;
        return Err(Problem::field(WHOLE, "expected a JSON object"));
    }
    serde_json::from_slice(json).map_err(|error| {
        if !error.is_data() {
            return malformed(error);
        }
        let message = without_place(&error);
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        let field = match (path::<T>(json), missing) {
            (path, None) => path,
            (path, Some(missing)) if path == WHOLE => missing.to_owned(),
            (path, Some(missing)) => format!("{path}.{missing}"),
        };
        Problem::field(field, message)
    })
}

/// Where in `json` the field stands that has not its shape.
fn path<'a, T: Deserialize<'a>>(json: &'a [u8]) -> String {
    // Slower than plain parsing, and only needed once that has failed.
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => WHOLE.to_owned(),
        Err(error) => match error.path().to_string() {
            // The whole of it.
            path if path == "." => WHOLE.to_owned(),
            path => clip(&path),
        },
    }
}

/// The message without line and column, which say less than the field's name.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[expect(dead_code, reason = "only its type matters")]
        topic: String,
    }

    #[track_caller]
    fn check(json: &str, status: u16, said: &str) {
        let problem = parse::<Shape>(json.as_bytes()).unwrap_err();
        assert_eq!(problem.kind.status().as_u16(), status, "{problem:?}");
        assert!(problem.detail.contains(said), "{problem:?}");
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        check("", 400, "line 1 column 0");
        check("{\"topic\": \"x\",\n}", 400, "line 2 column 1");
        check("{\"topic\": 5}", 422, "topic: invalid type: integer `5`, expected a string");
        check("{\"topic\": \"x\", \"colour\": 1}", 422, "unknown field `colour`, expected `topic`");
        check("{}", 422, "missing field `topic`");
        check("[\"x\"]", 422, "body: expected a JSON object");
        check("[}", 400, "line 1 column 2");
        check("\u{0}", 400, "line 1");
        assert!(parse::<Shape>(b"\xff\xfe").is_err());
    }

    #[tokio::test]
    async fn limits_and_media_types() {
        let json = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            "application/json; charset=utf-8".parse().unwrap(),
        )]);
        assert_eq!(read(&json, Body::from("12345"), 5).await.unwrap(), "12345");
        assert_eq!(read(&json, Body::from("123456"), 5).await.unwrap_err().kind, Kind::BodyTooLarge);
        let form = HeaderMap::from_iter([(header::CONTENT_TYPE, "text/plain".parse().unwrap())]);
        assert_eq!(read(&form, Body::from("1"), 5).await.unwrap_err().kind, Kind::UnsupportedMediaType);
        assert_eq!(
            read(&HeaderMap::new(), Body::from("1"), 5).await.unwrap_err().kind,
            Kind::UnsupportedMediaType
        );
        assert_eq!(read_optional(&HeaderMap::new(), Body::empty(), 5).await.unwrap(), None);
    }
}
