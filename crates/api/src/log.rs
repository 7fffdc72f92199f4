//! `GET /v1/events`: the global log, for audits and for other systems.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::Position;
use quillwork_domain::wire::KINDS;

use crate::accept::negotiate;
use crate::history::PAGE_EVENTS;
use crate::jobs::events::{JSON, NDJSON, line, lines};
use crate::params::{MAX_POSITION, Params, clip};
use crate::problem::Problem;
use crate::state::ApiState;
use crate::{schema, sse};

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;
/// Positions among which events of some kinds are looked for at once.
const SPAN: u64 = 4_096;
const SSE: &str = "text/event-stream";

/// Read the log.
///
/// A page of events after the position `after`: as JSON, whose `next_cursor` is the `after` of the next page, or one
/// event a line with `Accept: application/x-ndjson`. With `Accept: text/event-stream` it follows the log for ever, from
/// `Last-Event-ID` or `after`; `limit` does not count then.
///
/// With `kinds` only events of those kinds are shown. `limit` still counts the events of the log, so that a page may
/// show fewer, and `next_cursor` goes on behind the last event that was looked at.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "listEvents",
    params(schema::EventsQuery, schema::Resume),
    responses(
        (status = 200, description = "Events, in order; positions are missing where jobs were archived", content(
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
    let params = Params::read(&uri, &["after", "limit", "kinds", "last_event_id"])?;
    let kinds = Kinds::read(&params)?;
    let after = params.number("after", 0..=MAX_POSITION)?.map(Position);
    let limit = params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let media_type = negotiate(&headers, &[JSON, NDJSON, SSE])?;
    if media_type == SSE {
        let after = sse::last_event_id(&headers, &params)?.or(after).unwrap_or_default();
        return Ok(follow(state, after, kinds));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let events = state.ops.reader.read_all(after.unwrap_or_default(), limit).await?;
    // A full page may have a next one.
    let next = events.last().filter(|_| events.len() == limit).map(|event| format!("\"{}\"", event.position));
    let events: Vec<Recorded> = events.into_iter().filter(|event| kinds.show(event)).collect();
    let text = if media_type == NDJSON {
        lines(&events)?
    } else {
        let items = events.iter().map(line).collect::<Result<Vec<_>, _>>()?.join(",");
        format!("{{\"items\":[{items}],\"next_cursor\":{}}}", next.as_deref().unwrap_or("null"))
    };
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

/// The kinds of events that a client wants to see; all if it names none.
struct Kinds(Option<Vec<String>>);

impl Kinds {
    fn read(params: &Params) -> Result<Self, Problem> {
        let kinds = params.get("kinds", |text| {
            let kinds: Vec<String> = text.split(',').map(str::to_owned).collect();
            match kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
                None => Ok(kinds),
                Some(unknown) => Err(format!(
                    "expected some of {}, separated by commas, got {:?}",
                    KINDS.join(", "),
                    clip(unknown)
                )),
            }
        });
        kinds.map(Self)
    }

    fn show(&self, event: &Recorded) -> bool {
        self.0.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| *kind == event.kind))
    }
}

/// Everything after `after`, and then whatever comes.
fn follow(state: ApiState, after: Position, kinds: Kinds) -> Response {
    let start = (state, after, kinds, Some(sse::HELLO));
    sse::response(futures::stream::unfold(start, |(state, mut after, kinds, hello)| async move {
        if let Some(hello) = hello {
            return Some((
                Ok::<_, Infallible>(Bytes::from_static(hello.as_bytes())),
                (state, after, kinds, None),
            ));
        }
        loop {
            // A client that is far behind must not hold up the end: it comes back elsewhere, and resumes.
            if state.ops.shutdown.is_cancelled() {
                return None;
            }
            let (text, last) = match next(&state, after, &kinds).await {
                Ok(next) => next,
                Err(reason) => {
                    // The client comes back by itself, and resumes.
                    tracing::warn!(reason, "a stream of the log breaks off");
                    return None;
                }
            };
            after = last.unwrap_or(after);
            if !text.is_empty() {
                return Some((Ok(text.into()), (state, after, kinds, None)));
            }
            if last.is_some() {
                continue;
            }
            tokio::select! {
                _ = state.ops.engine.feed().wait_past(after) => {}
                () = tokio::time::sleep(sse::KEEP_ALIVE) => {
                    return Some((Ok(Bytes::from_static(sse::ALIVE.as_bytes())), (state, after, kinds, None)));
                }
                () = state.ops.shutdown.cancelled() => return None,
            }
        }
    }))
}

/// The messages for the next events after `after`, and the last position that was looked at; None if there are no more.
async fn next(
    state: &ApiState,
    after: Position,
    kinds: &Kinds,
) -> Result<(String, Option<Position>), String> {
    let mut text = String::new();
    let mut last = None;
    let mut see = |event: &Recorded| {
        last = Some(event.position);
        if kinds.show(event) { sse::encode_recorded(&mut text, event) } else { Ok(()) }
    };
    let feed = state.ops.engine.feed();
    let head = feed.head();
    if after >= head {
        // What comes next is heard of, and need not be looked for.
        return Ok((text, None));
    }
    let reader = &state.ops.reader;
    // What just happened is still in memory.
    let seen = match (feed.recent(after), &kinds.0) {
        (Some(page), _) => page.iter().take(PAGE_EVENTS).try_for_each(|entry| see(&entry.recorded)),
        (None, Some(kinds)) => {
            let until = Position(after.0.saturating_add(SPAN)).min(head);
            let events = reader.read_kinds(kinds, (after, until), PAGE_EVENTS).await;
            let events = events.map_err(|error| error.to_string())?;
            let shown = events.iter().try_for_each(see);
            if events.len() < PAGE_EVENTS {
                last = Some(until);
            }
            shown
        }
        (None, None) => {
            let events = reader.read_all(after, PAGE_EVENTS).await.map_err(|error| error.to_string())?;
            events.iter().try_for_each(see)
        }
    };
    seen.map_err(|error| error.to_string())?;
    Ok((text, last))
}
