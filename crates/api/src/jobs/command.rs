//! `POST /v1/jobs/{id}/cancel` and `/retry`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use quillwork_app::engine::{Accepted, Refusal};
use serde::Deserialize;

use crate::context::Context;
use crate::jobs::PathJob;
use crate::jobs::submit::outcome_unknown;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::view::Changed;
use crate::{body, schema};

const MAX_REASON_CHARS: usize = 1_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {}

/// Cancel a job.
///
/// A stage that runs is told to stop; what it still produces is refused. Cancelling twice is no error.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", operation_id = "cancelJob",
    params(schema::JobPath, schema::CallerHeaders),
    request_body = Option<schema::Cancel>,
    responses(
        (status = 202, description = "The job is cancelled", body = schema::Changed),
        schema::BodyProblems, schema::CommandProblems, schema::UnknownJob, schema::StateForbids,
    )
)]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Changed>), Problem> {
    let json = body::read_optional(&headers, body, state.limits.body_bytes).await?;
    let Cancel { reason } = json.map(|json| body::parse(&json)).transpose()?.unwrap_or_default();
    if let Some(n) = reason.as_ref().map(|reason| reason.chars().count()).filter(|n| *n > MAX_REASON_CHARS) {
        return Err(Problem::field(
            "reason",
            format!("expected at most {MAX_REASON_CHARS} characters, got {n}"),
        ));
    }
    let caller = context.caller(&headers)?;
    answer(&state, state.ops.engine.cancel(caller, id, reason)).await
}

/// Set a failed or cancelled job going again.
///
/// It goes on at the stage where it stopped, with all its attempts.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = "jobs", operation_id = "retryJob",
    params(schema::JobPath, schema::CallerHeaders),
    responses(
        (status = 202, description = "The job goes on", body = schema::Changed),
        schema::BodyProblems, schema::CommandProblems, schema::UnknownJob, schema::StateForbids,
    )
)]
pub(crate) async fn retry(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Changed>), Problem> {
    if let Some(json) = body::read_optional(&headers, body, state.limits.body_bytes).await? {
        let Retry {} = body::parse(&json)?;
    }
    let caller = context.caller(&headers)?;
    answer(&state, state.ops.engine.retry(caller, id)).await
}

/// Waits for the verdict of a command, within bounds.
pub(crate) async fn answer(
    state: &ApiState,
    verdict: impl Future<Output = Result<Accepted, Refusal>>,
) -> Result<(StatusCode, Json<Changed>), Problem> {
    let verdict = tokio::time::timeout(state.limits.command_timeout, verdict).await;
    let accepted = verdict.map_err(|_| outcome_unknown())??;
    Ok((StatusCode::ACCEPTED, Json(accepted.into())))
}
