//! `GET /v1/events`: the global log, for audits and for other systems.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quillwork_domain::id::Position;

use crate::accept::negotiate;
use crate::jobs::events::{JSON, NDJSON, line, lines};
use crate::params::{MAX_POSITION, Params};
use crate::problem::Problem;
use crate::state::ApiState;
use crate::{schema, sse};

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;
const SSE: &str = "text/event-stream";

/// Read the log.
///
/// A page of events after the position `after`: as JSON, whose `next_cursor` is the `after` of the next page, or one
/// event a line with `Accept: application/x-ndjson`. With `Accept: text/event-stream` it follows the log for ever, from
/// `Last-Event-ID` or `after`; `limit` does not count then.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "listEvents",
    params(schema::EventsQuery, schema::Resume),
    responses(
        (status = 200, description = "Events, in order and without a gap", content(
            (schema::EventPage = "application/json"), (String = "application/x-ndjson"), (String = "text/event-stream"),
        )),
        (status = 406, description = "There is no such representation", body = schema::Problem, content_type = "application/problem+json"),
        schema::ReadProblems,
    )
)]
pub(crate) async fn events(
    State(state): State<ApiState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["after", "limit", "last_event_id"])?;
    let after = params.number("after", 0..=MAX_POSITION)?.map(Position);
    let limit = params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let media_type = negotiate(&headers, &[JSON, NDJSON, SSE])?;
    if media_type == SSE {
        let after = sse::last_event_id(&headers, &params)?.or(after).unwrap_or_default();
        return Ok(follow(state, after));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let events = state.reader.read_all(after.unwrap_or_default(), limit).await?;
    let text = if media_type == NDJSON {
        lines(&events)?
    } else {
        let items = events.iter().map(line).collect::<Result<Vec<_>, _>>()?.join(",");
        // A full page may have a next one.
        let next =
            events.last().filter(|_| events.len() == limit).map(|event| format!("\"{}\"", event.position));
        format!("{{\"items\":[{items}],\"next_cursor\":{}}}", next.as_deref().unwrap_or("null"))
    };
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

/// Everything after `after`, and then whatever comes.
fn follow(state: ApiState, after: Position) -> Response {
    let start = (state, after, Some(sse::HELLO));
    sse::response(futures::stream::unfold(start, |(state, after, hello)| async move {
        if let Some(hello) = hello {
            return Some((Ok::<_, Infallible>(Bytes::from_static(hello.as_bytes())), (state, after, None)));
        }
        loop {
            let events = match state.reader.read_all(after, 256).await {
                Ok(events) => events,
                Err(error) => {
                    // The client comes back by itself, and resumes.
                    tracing::warn!(cause = %error, "a stream of the log breaks off");
                    return None;
                }
            };
            if let Some(last) = events.last() {
                let mut text = String::new();
                for event in &events {
                    sse::encode_recorded(&mut text, event)
                        .inspect_err(
                            |error| tracing::error!(cause = %error, "a stream of the log breaks off"),
                        )
                        .ok()?;
                }
                let last = last.position;
                return Some((Ok(text.into()), (state, last, None)));
            }
            tokio::select! {
                _ = state.engine.feed().wait_past(after) => {}
                () = tokio::time::sleep(sse::KEEP_ALIVE) => {
                    return Some((Ok(Bytes::from_static(sse::ALIVE.as_bytes())), (state, after, None)));
                }
                () = state.shutdown.cancelled() => return None,
            }
        }
    }))
}
