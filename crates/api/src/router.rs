//! The one list of routes.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{Kind, Problem};
use crate::state::{ApiState, Ops};
use crate::{content, context, docs, health, jobs, log, metrics, pipelines, queues, stats, usage};

#[derive(OpenApi)]
#[openapi(
    components(schemas(crate::schema::Problem)),
    info(
        title = "Quillwork",
        description = "Submit topics; workers research and write; everything that happens is an event in a log.",
        license(name = "MIT OR Apache-2.0"),
    )
)]
struct Document;

fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(jobs::submit::submit, jobs::list::list))
        .routes(routes!(jobs::batch::submit_batch))
        .routes(routes!(jobs::show::show))
        .routes(routes!(jobs::result::result))
        .routes(routes!(jobs::timeline::timeline))
        .routes(routes!(jobs::events::events))
        .routes(routes!(jobs::stream::stream))
        .routes(routes!(jobs::command::cancel))
        .routes(routes!(jobs::command::retry))
        .routes(routes!(jobs::budget::set_budget))
        .routes(routes!(jobs::budget::resume))
        .routes(routes!(jobs::cost::cost))
        .routes(routes!(usage::usage))
        .routes(routes!(log::events))
        .routes(routes!(queues::list::list))
        .routes(routes!(queues::show::show))
        .routes(routes!(queues::command::pause))
        .routes(routes!(queues::command::resume))
        .routes(routes!(queues::command::limit))
        .routes(routes!(content::list::list))
        .routes(routes!(content::analytics::analytics))
        .routes(routes!(content::views::view))
        .routes(routes!(content::ratings::rate))
        .routes(routes!(pipelines::pipelines))
        .routes(routes!(stats::stats))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(docs::docs))
        .routes(routes!(openapi_json))
}

/// The API.
pub fn router(state: ApiState) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .route("/", get(async || axum::response::Redirect::temporary("/docs")))
        .fallback(async || {
            Problem::new(Kind::UnknownRoute, "there is nothing here; /docs shows what there is")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                Kind::MethodNotAllowed,
                "this path does not take this method; the Allow header lists those it takes",
            )
        })
        // Inside the context, so that a panic gets its correlation id like everything else.
        .layer(CatchPanicLayer::custom(context::panicked))
        .layer(middleware::from_fn_with_state(state.clone(), context::around))
        .with_state(state)
}

/// Only what operators ask of a process: `/healthz`, `/readyz` and `/metrics`.
pub fn ops_router(ops: Ops) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .with_state(ops)
}

/// The document that `/openapi.json` serves.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

static OPENAPI: LazyLock<String> = LazyLock::new(|| openapi().to_json().unwrap_or_default());

/// Read this documentation as OpenAPI.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", operation_id = "openapi",
    responses((status = 200, description = "An OpenAPI document", body = Object, content_type = "application/json"))
)]
async fn openapi_json() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI.as_str())
}
