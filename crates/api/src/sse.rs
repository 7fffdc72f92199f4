//! Server-sent events: the text of messages, and the response that carries them.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::export::{ExportError, ExportedEvent};
use quillwork_domain::id::Position;

use crate::params::{MAX_POSITION, Params};
use crate::problem::Problem;

/// A quiet stream says this often that it is alive.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A comment: keeps proxies and clients from giving up.
pub(crate) const ALIVE: &str = ":\n\n";

/// The first message: makes the headers leave, and says how soon to come back when the connection breaks.
pub(crate) const HELLO: &str = "retry: 1000\n\n";

/// Appends one message to `out`.
pub(crate) fn encode(out: &mut String, id: Option<Position>, event: &str, data: &str) {
    use std::fmt::Write as _;
    // Writing to a String cannot fail.
    if let Some(id) = id {
        let _ = writeln!(out, "id: {id}");
    }
    let _ = writeln!(out, "event: {event}");
    // A line break would end the field; JSON has them only as white space.
    for line in data.split(['\n', '\r']) {
        let _ = writeln!(out, "data: {line}");
    }
    out.push('\n');
}

/// Appends a recorded event; its id is its position, with which the client resumes.
pub(crate) fn encode_recorded(out: &mut String, recorded: &Recorded) -> Result<(), ExportError> {
    let line = ExportedEvent::new(recorded)?.to_line()?;
    encode(out, Some(recorded.position), &recorded.kind, &line);
    Ok(())
}

/// The response that sends `messages` as they come.
pub(crate) fn response(messages: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let mut response = Body::from_stream(messages).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // Asks nginx not to hold messages back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Where the client left off: `Last-Event-ID`, or the parameter `last_event_id` for clients that cannot set headers.
pub(crate) fn last_event_id(headers: &HeaderMap, params: &Params) -> Result<Option<Position>, Problem> {
    let read = |text: &str| {
        let id = text.trim().parse().ok().filter(|id| *id <= MAX_POSITION);
        id.map(Position).ok_or_else(|| "expected the id of an event, a whole number".to_owned())
    };
    match headers.get("last-event-id") {
        // Browsers send an empty one for "none yet".
        Some(id) if !id.is_empty() => {
            let id = read(id.to_str().unwrap_or_default());
            id.map(Some).map_err(|message| Problem::field("Last-Event-ID", message))
        }
        Some(_) | None => params.get("last_event_id", read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let mut out = String::new();
        encode(&mut out, Some(Position(7)), "JobSubmitted", "{}");
        encode(&mut out, None, "progress", "{\n\"a\":1}");
        assert_eq!(
            out,
            "id: 7\nevent: JobSubmitted\ndata: {}\n\nevent: progress\ndata: {\ndata: \"a\":1}\n\n"
        );
    }

    #[test]
    fn resuming() {
        let read = |header: Option<&str>, query: &str| {
            let headers = header.map(|id| (HeaderName::from_static("last-event-id"), id.parse().unwrap()));
            let params = Params::read(&format!("/?{query}").parse().unwrap(), &["last_event_id"]).unwrap();
            last_event_id(&HeaderMap::from_iter(headers), &params)
        };
        assert_eq!(read(None, ""), Ok(None));
        assert_eq!(read(Some(""), ""), Ok(None));
        assert_eq!(read(Some("12"), "last_event_id=3"), Ok(Some(Position(12))));
        assert_eq!(read(None, "last_event_id=3"), Ok(Some(Position(3))));
        assert!(read(Some("18446744073709551615"), "").is_err());
        assert!(read(Some("x"), "").is_err());
        assert!(read(None, "last_event_id=-1").is_err());
    }
}
