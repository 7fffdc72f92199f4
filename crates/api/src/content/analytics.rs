//! `GET /v1/content/{id}/analytics`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_domain::id::{Position, Version};
use quillwork_projections::ContentAnalytics;

use crate::content::{ContentView, completed};
use crate::jobs::PathJob;
use crate::jobs::show::reach;
use crate::params::{MAX_POSITION, Params};
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;

/// Show what readers did with an article.
///
/// Also of a job that left the log, if anybody viewed or rated the article.
#[utoipa::path(
    get, path = "/v1/content/{id}/analytics", tag = "content", operation_id = "showContentAnalytics",
    params(schema::JobPath, schema::MinPosition),
    responses(
        (status = 200, description = "What is known of the article", body = schema::Content),
        schema::ReadProblems, schema::UnknownJob, schema::StateForbids,
    )
)]
pub(crate) async fn analytics(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    uri: Uri,
) -> Result<Json<ContentView>, Problem> {
    let params = Params::read(&uri, &["min_position"])?;
    if let Some(position) = params.number("min_position", 0..=MAX_POSITION)? {
        reach(&state, Position(position)).await?;
    }
    let known = state.models.content(id).await?;
    if let Some(content) = known.filter(|content| content.version > Version(0)) {
        return Ok(Json(content.into()));
    }
    let job = completed(&state, id).await?;
    let unread = || ContentAnalytics::new(id, job.updated_at);
    Ok(Json(known.unwrap_or_else(unread).into()))
}
