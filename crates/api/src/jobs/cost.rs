//! `GET /v1/jobs/{id}/cost`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_app::ports::store::Entry;
use quillwork_domain::id::{Attempt, Position};
use quillwork_domain::job::Event;
use quillwork_domain::time::Timestamp;
use serde::Serialize;

use crate::history::{self, Until};
use crate::jobs::PathJob;
use crate::params::{Params, clip};
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;
use crate::view::{Cost, usd};

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;

/// A call that was paid for.
#[derive(Debug, Serialize)]
pub(crate) struct PaidCall {
    pub(crate) stage: String,
    pub(crate) step: String,
    pub(crate) attempt: Attempt,
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    #[serde(serialize_with = "usd")]
    pub(crate) cost_usd: u64,
    pub(crate) prices: Option<String>,
    pub(crate) position: Position,
    pub(crate) recorded_at: Timestamp,
}

/// What a job has cost, call by call.
#[derive(Debug, Serialize)]
pub(crate) struct JobCost {
    #[serde(flatten)]
    pub(crate) cost: Cost,
    pub(crate) items: Vec<PaidCall>,
    pub(crate) next_cursor: Option<String>,
}

/// Show what a job has cost, call by call.
///
/// From the log, in the order in which the calls were recorded. Each page has the cost of all of them.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/cost", tag = "jobs", operation_id = "showJobCost",
    params(schema::JobPath, schema::CostQuery),
    responses(
        (status = 200, description = "A page of the paid calls, in order", body = schema::JobCost),
        schema::ReadProblems, schema::UnknownJob,
    )
)]
pub(crate) async fn cost(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    uri: Uri,
) -> Result<Json<JobCost>, Problem> {
    let params = Params::read(&uri, &["cursor", "limit"])?;
    let limit = params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let after = params.get("cursor", |text| {
        position(text).ok_or_else(|| format!("expected the next_cursor of a page, got {:?}", clip(text)))
    })?;
    let mut items = Vec::new();
    let job = history::fold(&state.ops.reader, id, Until::Now, |entry| {
        // One more than is shown: it tells that there is another page.
        if items.len() <= limit && after.is_none_or(|after| entry.recorded.position > after) {
            items.extend(paid_call(entry));
        }
    });
    let job = job.await?.ok_or_else(|| Problem::unknown_job(id))?;
    let cost = Cost { spent_usd: job.spent_micros(), budget_usd: job.budget_micros };
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|last: &PaidCall| cursor(last.position));
    Ok(Json(JobCost { cost, items, next_cursor }))
}

/// The cursor of the page of calls that were recorded after `position`.
fn cursor(position: Position) -> String {
    format!("a{:x}", position.0)
}

fn position(cursor: &str) -> Option<Position> {
    let digits = cursor.strip_prefix('a').filter(|digits| !digits.starts_with('+'))?;
    u64::from_str_radix(digits, 16).ok().map(Position)
}

fn paid_call(entry: &Entry) -> Option<PaidCall> {
    let Event::StepRecorded(step) = &entry.event else { return None };
    let spent = step.spent.as_ref()?;
    Some(PaidCall {
        stage: step.stage.clone(),
        step: step.step_key.clone(),
        attempt: step.attempt,
        provider: spent.provider.clone(),
        model: spent.model.clone(),
        input_tokens: spent.input_tokens,
        output_tokens: spent.output_tokens,
        cost_usd: spent.cost_micros,
        prices: spent.prices.clone(),
        position: entry.recorded.position,
        recorded_at: entry.recorded.recorded_at,
    })
}
