//! `GET /v1/pipelines`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_domain::plan::Plan;
use serde::Serialize;

use crate::params::Params;
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;

/// The pipelines of the configuration.
#[derive(Serialize)]
pub(crate) struct Pipelines {
    default_pipeline: String,
    items: Vec<Pipeline>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Pipeline {
    name: String,
    stages: Plan,
}

/// List the pipelines that a job may name.
#[utoipa::path(
    get, path = "/v1/pipelines", tag = "pipelines", operation_id = "listPipelines",
    responses((status = 200, description = "All pipelines", body = schema::Pipelines), schema::ReadProblems)
)]
pub(crate) async fn pipelines(State(state): State<ApiState>, uri: Uri) -> Result<Json<Pipelines>, Problem> {
    Params::read(&uri, &[])?;
    let items = state.catalog.pipelines();
    Ok(Json(Pipelines {
        default_pipeline: state.catalog.default_pipeline().to_owned(),
        items: items.map(|(name, plan)| Pipeline { name: name.to_owned(), stages: plan.clone() }).collect(),
        next_cursor: None,
    }))
}
