//! `GET /v1/queues`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_domain::id::Position;

use crate::jobs::show::reach;
use crate::params::{MAX_POSITION, Params};
use crate::problem::Problem;
use crate::queues::{self, QueueView};
use crate::schema;
use crate::state::ApiState;
use crate::view::Page;

/// List the queues.
///
/// One for each stage handler that a pipeline uses, and each whose queue was ever touched.
#[utoipa::path(
    get, path = "/v1/queues", tag = "queues", operation_id = "listQueues",
    params(schema::MinPosition),
    responses((status = 200, description = "All queues, by name", body = schema::QueuePage), schema::ReadProblems)
)]
pub(crate) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<Page<QueueView>>, Problem> {
    let params = Params::read(&uri, &["min_position"])?;
    if let Some(position) = params.number("min_position", 0..=MAX_POSITION)? {
        reach(&state, Position(position)).await?;
    }
    // As many as there are handlers: one page holds them all.
    Ok(Json(Page { items: queues::all(&state).await?, next_cursor: None }))
}
