//! `POST /v1/jobs`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quillwork_app::engine::{Accepted, Caller, Refusal, Submission};

use crate::context::{Context, visible_ascii};
use crate::problem::{Kind, Problem};
use crate::state::ApiState;
use crate::submission::MAX_IDEMPOTENCY_KEY;
use crate::view::Submitted;
use crate::{body, schema, submission};

/// Submit a job.
///
/// When this answers 202, the job is on disk. Send the same body with the same `Idempotency-Key` again if no answer
/// came: it makes no second job.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "submitJob",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
        schema::CallerHeaders,
    ),
    request_body = schema::NewJob,
    responses(
        (status = 202, description = "The job is durable", body = schema::Submitted, headers(
            ("Location" = String, description = "The job"),
            ("Idempotency-Replayed" = Option<String>, description = "`true` if the key was used before; this is the job it made then"),
        )),
        schema::BodyProblems, schema::CommandProblems,
    )
)]
pub(crate) async fn submit(
    State(state): State<ApiState>,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let json = body::read(&headers, body, state.limits.body_bytes).await?;
    let caller = context.caller(&headers)?;
    let key = idempotency_key(&headers)?;
    let submission = submission::read(&json, key, &state.catalog)?;
    let accepted =
        give(&state, caller, vec![submission]).await?.pop().unwrap_or(Err(Refusal::ShuttingDown))?;

    let replayed = accepted.replayed;
    let submitted = Submitted::from(accepted);
    let location = HeaderValue::try_from(submitted.links.itself().to_string()).ok();
    let mut response = (StatusCode::ACCEPTED, Json(submitted)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Hands submissions to the engine, and waits for their commit but not for ever.
pub(crate) async fn give(
    state: &ApiState,
    caller: Caller,
    submissions: Vec<Submission>,
) -> Result<Vec<Result<Accepted, Refusal>>, Problem> {
    let submit = state.ops.engine.submit(caller, submissions);
    tokio::time::timeout(state.limits.command_timeout, submit).await.map_err(|_| outcome_unknown())
}

/// A command was given and no answer came in time.
pub(crate) fn outcome_unknown() -> Problem {
    let detail = "the commit takes too long, and whether it will succeed is not known; \
                  ask again, with the same idempotency key if you gave one";
    Problem::new(Kind::Unavailable, detail).retry_after(std::time::Duration::from_secs(1))
}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    match visible_ascii(key, MAX_IDEMPOTENCY_KEY) {
        Some(key) if keys.next().is_none() => Ok(Some(key)),
        Some(_) | None => Err(Problem::field(
            "Idempotency-Key",
            format!("expected one key of 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"),
        )),
    }
}
