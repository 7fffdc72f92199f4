//! `POST /v1/queues/{handler}/pause` and `/resume`, `PUT /v1/queues/{handler}/limit`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use quillwork_app::engine::Caller;
use quillwork_domain::id::Position;
use quillwork_domain::queue::{Control, QueueCommand};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::jobs::submit::outcome_unknown;
use crate::problem::Problem;
use crate::queues::{self, PathQueue};
use crate::state::ApiState;
use crate::{body, schema};

const MAX_REASON_CHARS: usize = 500;

/// More than any fleet runs.
const MAX_LIMIT: u32 = 1_000_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    // Must be there: to lift a limit by leaving a word out would be too easy.
    #[serde(deserialize_with = "Option::deserialize")]
    max_running: Option<u32>,
}

/// A queue as it is once the command is obeyed.
#[derive(Debug, Serialize)]
pub(crate) struct ControlledView {
    pub(crate) handler: String,
    #[serde(flatten)]
    pub(crate) control: Control,
    pub(crate) position: Position,
}

/// Pause a queue.
///
/// From here on no process starts a stage of the handler; those that run end as they would, and jobs are accepted as
/// before. Pausing twice is no error, and leaves the first reason.
#[utoipa::path(
    post, path = "/v1/queues/{handler}/pause", tag = "queues", operation_id = "pauseQueue",
    params(schema::QueuePath, schema::CallerHeaders),
    request_body = Option<schema::PauseQueue>,
    responses(
        (status = 200, description = "The queue is paused", body = schema::ControlledQueue),
        schema::BodyProblems, schema::CommandProblems, schema::UnknownQueue,
    )
)]
pub(crate) async fn pause(
    State(state): State<ApiState>,
    PathQueue(handler): PathQueue,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ControlledView>, Problem> {
    let json = body::read_optional(&headers, body, state.limits.body_bytes).await?;
    let Pause { reason } = json.map(|json| body::parse(&json)).transpose()?.unwrap_or_default();
    if let Some(reason) = &reason {
        let n = reason.chars().count();
        if !(1..=MAX_REASON_CHARS).contains(&n) || reason.chars().any(char::is_control) {
            let message =
                format!("expected 1 to {MAX_REASON_CHARS} characters and no control characters, got {n}");
            return Err(Problem::field("reason", message));
        }
    }
    let caller = context.caller(&headers)?;
    obey(&state, caller, QueueCommand::Pause { handler, reason }).await
}

/// Resume a queue.
///
/// What waits is started again. Resuming a queue that is not paused is no error.
#[utoipa::path(
    post, path = "/v1/queues/{handler}/resume", tag = "queues", operation_id = "resumeQueue",
    params(schema::QueuePath, schema::CallerHeaders),
    responses(
        (status = 200, description = "The queue is not paused", body = schema::ControlledQueue),
        schema::BodyProblems, schema::CommandProblems, schema::UnknownQueue,
    )
)]
pub(crate) async fn resume(
    State(state): State<ApiState>,
    PathQueue(handler): PathQueue,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ControlledView>, Problem> {
    if let Some(json) = body::read_optional(&headers, body, state.limits.body_bytes).await? {
        let Resume {} = body::parse(&json)?;
    }
    let caller = context.caller(&headers)?;
    obey(&state, caller, QueueCommand::Resume { handler }).await
}

/// Limit a queue.
///
/// At most `max_running` stages of the handler run at once in all processes; null lifts the limit. Stages that run
/// already are left alone. The slots of each process bound it as before.
#[utoipa::path(
    put, path = "/v1/queues/{handler}/limit", tag = "queues", operation_id = "limitQueue",
    params(schema::QueuePath, schema::CallerHeaders),
    request_body = schema::LimitQueue,
    responses(
        (status = 200, description = "The queue has this limit", body = schema::ControlledQueue),
        schema::BodyProblems, schema::CommandProblems, schema::UnknownQueue,
    )
)]
pub(crate) async fn limit(
    State(state): State<ApiState>,
    PathQueue(handler): PathQueue,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ControlledView>, Problem> {
    let json = body::read(&headers, body, state.limits.body_bytes).await?;
    let Limit { max_running } = body::parse(&json)?;
    if let Some(n) = max_running.filter(|n| !(1..=MAX_LIMIT).contains(n)) {
        let message = format!("expected 1 to {MAX_LIMIT}, or null for no limit, got {n}");
        return Err(Problem::field("max_running", message));
    }
    let caller = context.caller(&headers)?;
    obey(&state, caller, QueueCommand::Limit { handler, max_running }).await
}

/// Gives the command to the engine, and waits for its commit but not for ever.
async fn obey(
    state: &ApiState,
    caller: Caller,
    command: QueueCommand,
) -> Result<Json<ControlledView>, Problem> {
    let handler = command.handler().to_owned();
    // Who must pause a queue cannot wait for a read model that fails.
    if !queues::in_catalog(state, &handler) {
        queues::find(state, &handler).await?;
    }
    let controlled = state.ops.engine.control(caller, command);
    let controlled = tokio::time::timeout(state.limits.command_timeout, controlled).await;
    let controlled = controlled.map_err(|_| outcome_unknown())??;
    Ok(Json(ControlledView { handler, control: controlled.control, position: controlled.position }))
}
