//! `POST /v1/jobs/batch`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use quillwork_app::engine::Refusal;
use quillwork_domain::id::Position;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::context::Context;
use crate::jobs::submit::{give, idempotency_key};
use crate::problem::{self, Problem};
use crate::state::ApiState;
use crate::view::Submitted;
use crate::{body, schema, submission};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewJobs<'a> {
    #[serde(borrow)]
    jobs: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct Answer<'a> {
    jobs: Vec<Item<'a>>,
    /// Of the last job that was accepted.
    position: Option<Position>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Accepted {
        #[serde(flatten)]
        job: &'a Submitted,
        replayed: bool,
    },
    Refused {
        problem: problem::Body<'a>,
    },
}

/// Submit up to 1,000 jobs at once.
///
/// Answers stand in the order of the jobs. A job that is refused has a problem in its place and does not keep the
/// others from being accepted. A job may have its own `idempotency_key`; the header is for single jobs.
#[utoipa::path(
    post, path = "/v1/jobs/batch", tag = "jobs", operation_id = "submitJobs",
    params(schema::CallerHeaders),
    request_body = schema::NewJobs,
    responses(
        (status = 202, description = "What is accepted is durable", body = schema::SubmittedBatch),
        schema::BodyProblems, schema::CommandProblems,
    )
)]
pub(crate) async fn submit_batch(
    State(state): State<ApiState>,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let json = body::read(&headers, body, state.limits.batch_body_bytes).await?;
    let caller = context.caller(&headers)?;
    if idempotency_key(&headers)?.is_some() {
        let message = "is for single jobs; give the jobs of a batch an idempotency_key of their own";
        return Err(Problem::field("Idempotency-Key", message));
    }
    let NewJobs { jobs } = body::parse(&json)?;
    let most = state.limits.batch_jobs;
    if jobs.is_empty() || jobs.len() > most {
        return Err(Problem::field("jobs", format!("expected 1 to {most} jobs, got {}", jobs.len())));
    }

    let mut submissions = Vec::with_capacity(jobs.len());
    let read: Vec<Result<(), Problem>> = jobs
        .into_iter()
        .map(|job| {
            let size = job.get().len();
            if size > state.limits.body_bytes {
                let most = state.limits.body_bytes;
                return Err(Problem::field(
                    "body",
                    format!("expected at most {most} bytes of JSON, got {size}"),
                ));
            }
            submission::read(job.get().as_bytes(), None, &state.catalog).map(|job| submissions.push(job))
        })
        .collect();
    let mut verdicts =
        if submissions.is_empty() { vec![] } else { give(&state, caller, submissions).await? }.into_iter();

    let answers: Vec<Result<(Submitted, bool), Problem>> = read
        .into_iter()
        .map(|read| {
            read?;
            let accepted = verdicts.next().unwrap_or(Err(Refusal::ShuttingDown))?;
            Ok((accepted.into(), accepted.replayed))
        })
        .collect();
    // If the service took nothing at all for reasons of its own, that is the answer, for the client's retry to see.
    if let Some(Err(problem)) = answers.first()
        && problem.retry_after.is_some()
        && answers.iter().all(|answer| matches!(answer, Err(other) if other.retry_after.is_some()))
    {
        return Err(problem.clone());
    }
    let position = answers.iter().flatten().map(|(job, _)| job.position).max();
    let jobs = answers
        .iter()
        .map(|answer| match answer {
            Ok((job, replayed)) => Item::Accepted { job, replayed: *replayed },
            Err(problem) => Item::Refused { problem: problem.body(context.correlation_id, None) },
        })
        .collect();
    Ok((StatusCode::ACCEPTED, axum::Json(Answer { jobs, position })).into_response())
}
