//! `POST /v1/jobs/{id}/budget` and `/resume`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use quillwork_domain::money::Usd;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::context::Context;
use crate::jobs::PathJob;
use crate::jobs::command::answer;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::view::Changed;
use crate::{body, money, schema};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBudget {
    max_cost_usd: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {}

/// Say how much a job may cost.
///
/// Counted over all that it has cost so far. A job that is paused because it has spent its budget goes on if the new one
/// is higher than that.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/budget", tag = "jobs", operation_id = "setJobBudget",
    params(schema::JobPath, schema::CallerHeaders),
    request_body = schema::SetBudget,
    responses(
        (status = 202, description = "The job has the budget", body = schema::Changed),
        schema::BodyProblems, schema::CommandProblems, schema::UnknownJob, schema::StateForbids,
    )
)]
pub(crate) async fn set_budget(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Changed>), Problem> {
    let json = body::read(&headers, body, state.limits.body_bytes).await?;
    let SetBudget { max_cost_usd } = body::parse(&json)?;
    let Usd(micros) =
        money::read(&max_cost_usd).map_err(|message| Problem::field("max_cost_usd", message))?;
    let caller = context.caller(&headers)?;
    answer(&state, state.ops.engine.set_budget(caller, id, micros)).await
}

/// Let a paused job go on.
///
/// A job that has spent its own budget needs a higher one; see `/budget`. One whose tenant has spent what it may in a day
/// tries again, and is paused again if nothing has changed.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/resume", tag = "jobs", operation_id = "resumeJob",
    params(schema::JobPath, schema::CallerHeaders),
    responses(
        (status = 202, description = "The job goes on", body = schema::Changed),
        schema::BodyProblems, schema::CommandProblems, schema::UnknownJob, schema::StateForbids,
    )
)]
pub(crate) async fn resume(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Changed>), Problem> {
    if let Some(json) = body::read_optional(&headers, body, state.limits.body_bytes).await? {
        let Resume {} = body::parse(&json)?;
    }
    let caller = context.caller(&headers)?;
    answer(&state, state.ops.engine.resume(caller, id)).await
}
