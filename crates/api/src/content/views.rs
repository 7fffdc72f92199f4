//! `POST /v1/content/{id}/views`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::content::{NotedView, tenant_of};
use crate::context::Context;
use crate::jobs::PathJob;
use crate::jobs::submit::outcome_unknown;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::{body, schema};

const MAX_COUNT: u64 = 1_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewViews {
    count: Option<u64>,
}

/// Count views of an article.
///
/// When this answers 202, the views are on disk. Views of one article that come together are one event of `readers`, with
/// the tenant of the job: `X-Actor` and `X-Tenant` are not recorded.
#[utoipa::path(
    post, path = "/v1/content/{id}/views", tag = "content", operation_id = "viewContent",
    params(schema::JobPath, schema::CallerHeaders),
    request_body = Option<schema::NewViews>,
    responses(
        (status = 202, description = "The views are durable", body = schema::Noted),
        schema::BodyProblems, schema::CommandProblems, schema::UnknownJob, schema::StateForbids,
    )
)]
pub(crate) async fn view(
    State(state): State<ApiState>,
    PathJob(id): PathJob,
    context: Context,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<NotedView>), Problem> {
    let json = body::read_optional(&headers, body, state.limits.body_bytes).await?;
    let NewViews { count } = json.map(|json| body::parse(&json)).transpose()?.unwrap_or_default();
    let count = count.unwrap_or(1);
    if !(1..=MAX_COUNT).contains(&count) {
        return Err(Problem::field("count", format!("expected 1 to {MAX_COUNT}, got {count}")));
    }
    let caller = context.caller(&headers)?;
    let tenant = tenant_of(&state, id).await?;
    let added = state.articles().views.add(id, count, (tenant, caller.correlation_id));
    let added = tokio::time::timeout(state.limits.command_timeout, added).await;
    let noted = added.map_err(|_| outcome_unknown())??;
    Ok((StatusCode::ACCEPTED, Json(NotedView::new(id, noted))))
}
