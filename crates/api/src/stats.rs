//! `GET /v1/stats`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_domain::id::Position;
use quillwork_projections::Stats;
use serde::Serialize;

use crate::jobs::show::reach;
use crate::params::{MAX_POSITION, Params};
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;

/// The counters, and how far the log is ahead of them.
#[derive(Serialize)]
pub(crate) struct StatsView {
    #[serde(flatten)]
    pub(crate) stats: Stats,
    pub(crate) head: Position,
}

/// Count jobs by status and attempts by stage.
///
/// Cheap, however many jobs there are.
#[utoipa::path(
    get, path = "/v1/stats", tag = "operations", operation_id = "getStats",
    params(schema::MinPosition),
    responses((status = 200, description = "The counters", body = schema::Stats), schema::ReadProblems)
)]
pub(crate) async fn stats(State(state): State<ApiState>, uri: Uri) -> Result<Json<StatsView>, Problem> {
    let params = Params::read(&uri, &["min_position"])?;
    if let Some(position) = params.number("min_position", 0..=MAX_POSITION)? {
        reach(&state, Position(position)).await?;
    }
    Ok(Json(StatsView { stats: state.models.stats().await?, head: state.ops.engine.feed().head() }))
}
