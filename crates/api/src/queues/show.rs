//! `GET /v1/queues/{handler}`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_domain::id::Position;

use crate::jobs::show::reach;
use crate::params::{MAX_POSITION, Params};
use crate::problem::Problem;
use crate::queues::{self, PathQueue, QueueView};
use crate::schema;
use crate::state::ApiState;

/// Show a queue.
#[utoipa::path(
    get, path = "/v1/queues/{handler}", tag = "queues", operation_id = "showQueue",
    params(schema::QueuePath, schema::MinPosition),
    responses(
        (status = 200, description = "The queue", body = schema::Queue),
        schema::ReadProblems, schema::UnknownQueue,
    )
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    PathQueue(handler): PathQueue,
    uri: Uri,
) -> Result<Json<QueueView>, Problem> {
    let params = Params::read(&uri, &["min_position"])?;
    if let Some(position) = params.number("min_position", 0..=MAX_POSITION)? {
        reach(&state, Position(position)).await?;
    }
    Ok(Json(queues::find(&state, &handler).await?))
}
