//! `POST /v1/content/{id}/ratings`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use quillwork_domain::content::{ContentCommand, ContentRated, Rater, Stars};
use quillwork_domain::id::JobId;
use quillwork_domain::payload::Sha256Digest;
use serde::Deserialize;

use crate::content::{NotedView, tenant_of};
use crate::context::Context;
use crate::jobs::PathJob;
use crate::jobs::submit::{idempotency_key, outcome_unknown};
use crate::problem::{FieldError, Problem};
use crate::state::ApiState;
use crate::{body, schema};

const MAX_RATER_CHARS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRating {
    stars: i64,
    rater: Option<String>,
}

/// Rate an article.
///
/// When this answers 202, the rating is on disk. A second rating of the same `rater` takes the place of the first. The log
/// has a digest of the rater and not the name. Without a rater, an `Idempotency-Key` keeps a rating that is sent twice from
/// being counted twice.
#[utoipa::path(
    post, path = "/v1/content/{id}/ratings", tag = "content", operation_id = "rateContent",
    params(
        schema::JobPath,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
        schema::CallerHeaders,
    ),
    request_body = schema::NewRating,
    responses(
        (status = 202, description = "The rating is durable", body = schema::Noted, headers(
            ("Idempotency-Replayed" = Option<String>, description = "`true` if the key was used before, and the rating was noted then"),
        )),
        schema::BodyProblems, schema::CommandProblems, schema::UnknownJob, schema::StateForbids,
    )
)]
pub(crate) async fn rate(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let json = body::read(&headers, body, state.limits.body_bytes).await?;
    let key = idempotency_key(&headers)?;
    let command = ContentCommand::Rate(read(&json, id, key)?);
    let caller = context.caller(&headers)?;
    tenant_of(&state, id).await?;
    let noted = state.ops.engine.note(caller, id, command);
    let noted = tokio::time::timeout(state.limits.command_timeout, noted).await;
    let noted = noted.map_err(|_| outcome_unknown())??;
    let mut response = (StatusCode::ACCEPTED, Json(NotedView::new(id, noted))).into_response();
    if noted.replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Reads and checks a rating of an article.
fn read(json: &[u8], article: JobId, key: Option<&str>) -> Result<ContentRated, Problem> {
    let NewRating { stars: given, rater } = body::parse(json)?;
    let mut errors = Vec::new();
    let mut refuse = |field: &str, message: String| {
        errors.push(FieldError { field: field.to_owned(), message });
    };
    let stars = u64::try_from(given).ok().and_then(|n| Stars::try_from(n).ok());
    if stars.is_none() {
        refuse("stars", format!("expected 1 to 5, got {given}"));
    }
    if let Some(name) = &rater {
        let n_chars = name.chars().count();
        if !(1..=MAX_RATER_CHARS).contains(&n_chars) || name.chars().any(char::is_control) {
            refuse(
                "rater",
                format!(
                    "expected 1 to {MAX_RATER_CHARS} characters and no control characters, got {n_chars}"
                ),
            );
        }
    }
    let (Some(stars), true) = (stars, errors.is_empty()) else { return Err(Problem::fields(errors)) };
    let digest = |_| Sha256Digest::of(format!("{article} {given} {rater:?}").as_bytes());
    Ok(ContentRated {
        stars,
        request_digest: key.map(digest),
        rater: rater.as_deref().map(|name| Rater::of(article, name)),
        idempotency_key: key.map(str::to_owned),
    })
}
