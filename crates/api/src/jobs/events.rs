//! `GET /v1/jobs/{id}/events`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::export::{ExportError, ExportedEvent};

use crate::accept::negotiate;
use crate::jobs::PathJob;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::{history, schema};

pub(crate) const JSON: &str = "application/json";
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Get the whole history of a job.
///
/// As JSON, or one event a line with `Accept: application/x-ndjson`. In both, `data` stands last in an event, byte for
/// byte as it was hashed.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/events", tag = "events", operation_id = "listJobEvents",
    params(schema::JobPath),
    responses(
        (status = 200, description = "All events, in order", content(
            (schema::EventPage = "application/json"), (String = "application/x-ndjson"),
        )),
        (status = 406, description = "There is no such representation", body = schema::Problem, content_type = "application/problem+json"),
        schema::ReadProblems, schema::UnknownJob,
    )
)]
pub(crate) async fn events(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let media_type = negotiate(&headers, &[JSON, NDJSON])?;
    // The first page decides the status; after that a failure can only break the answer off.
    let mut pages = Box::pin(history::pages(state.ops.reader.clone(), id));
    let first = pages.try_next().await?.ok_or_else(|| Problem::unknown_job(id))?;
    let pages = futures::stream::iter([Ok(first)]).chain(pages);

    let body = if media_type == NDJSON {
        Body::from_stream(
            pages.map(|page| lines(&page.map_err(break_off)?).map(Bytes::from).map_err(break_off)),
        )
    } else {
        let mut separator = "{\"items\":[";
        let items = pages.map(move |page| {
            let mut text = String::new();
            for event in page.map_err(break_off)? {
                text.push_str(separator);
                text.push_str(&line(&event).map_err(break_off)?);
                separator = ",";
            }
            Ok::<_, std::io::Error>(Bytes::from(text))
        });
        Body::from_stream(
            items.chain(futures::stream::iter([Ok(Bytes::from_static(b"],\"next_cursor\":null}"))])),
        )
    };
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

/// One event as JSON.
pub(crate) fn line(recorded: &Recorded) -> Result<String, ExportError> {
    ExportedEvent::new(recorded)?.to_line()
}

/// Events as NDJSON.
pub(crate) fn lines(events: &[Recorded]) -> Result<String, ExportError> {
    let mut text = String::new();
    for event in events {
        text.push_str(&line(event)?);
        text.push('\n');
    }
    Ok(text)
}

/// Ends an answer so that the client sees that it is not whole.
fn break_off(error: impl std::error::Error + Send + Sync + 'static) -> std::io::Error {
    tracing::error!(cause = %error, "a history breaks off");
    std::io::Error::other(error)
}
