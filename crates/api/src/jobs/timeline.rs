//! `GET /v1/jobs/{id}/timeline`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_domain::id::{Position, Version};
use quillwork_projections::TimelineEntry;

use crate::jobs::PathJob;
use crate::jobs::show::reach;
use crate::params::{MAX_POSITION, Params};
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;
use crate::view::Page;

/// Show every attempt of every stage of a job.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/timeline", tag = "jobs", operation_id = "showTimeline",
    params(schema::JobPath, schema::MinPosition),
    responses(
        (status = 200, description = "The attempts, in order", body = schema::Timeline),
        schema::ReadProblems, schema::UnknownJob,
    )
)]
pub(crate) async fn timeline(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    uri: Uri,
) -> Result<Json<Page<TimelineEntry>>, Problem> {
    let params = Params::read(&uri, &["min_position"])?;
    if let Some(position) = params.number("min_position", 0..=MAX_POSITION)? {
        reach(&state, Position(position)).await?;
    }
    let items = state.models.timeline(id).await?;
    if items.is_empty()
        && state.models.job(id).await?.is_none()
        && state.ops.reader.stream(id.into(), Version::default(), 1).await?.is_empty()
    {
        return Err(Problem::unknown_job(id));
    }
    // A plan is short and attempts are bounded: one page holds them all.
    Ok(Json(Page { items, next_cursor: None }))
}
