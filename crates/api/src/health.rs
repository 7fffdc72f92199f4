//! `/healthz` and `/readyz`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use quillwork_projections::Health;
use serde::Serialize;

use crate::schema;
use crate::state::ApiState;

/// A read model this many events behind the log answers too old.
const MAX_LAG: u64 = 50_000;

/// The store must answer within this time.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the process is alive.
#[derive(Serialize)]
pub(crate) struct Alive {
    status: &'static str,
    version: &'static str,
}

/// Tell whether the process is alive.
#[utoipa::path(
    get, path = "/healthz", tag = "operations", operation_id = "healthz",
    responses((status = 200, description = "It is", body = schema::Alive))
)]
pub(crate) async fn healthz() -> Json<Alive> {
    Json(Alive { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Whether the process should get requests.
#[derive(Serialize)]
pub(crate) struct Ready {
    ready: bool,
    /// Why not, one sentence each.
    reasons: Vec<String>,
    /// The last event of the log that this process knows of.
    head: u64,
    /// The last event that the read model shows.
    position: u64,
    lag: u64,
}

/// Tell whether the process should get requests.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "readyz",
    responses(
        (status = 200, description = "It should", body = schema::Ready),
        (status = 503, description = "It should not, for these reasons", body = schema::Ready),
    )
)]
pub(crate) async fn readyz(State(state): State<ApiState>) -> (StatusCode, Json<Ready>) {
    let mut reasons = Vec::new();
    if state.draining.is_cancelled() || state.shutdown.is_cancelled() {
        reasons.push("the process is shutting down".to_owned());
    }
    if !state.engine.is_alive() {
        reasons.push("the engine has ended".to_owned());
    }
    if let Some(trouble) = state.engine.trouble() {
        reasons.push(trouble);
    }
    // What exactly is wrong with them is in the log, not for everyone.
    match state.models.health() {
        Health::Running => {}
        Health::CatchingUp => reasons.push("the read models are catching up with the log".to_owned()),
        Health::Idle => reasons.push("the projector does not run".to_owned()),
        Health::Retrying(_) => reasons.push("the projector cannot go on and tries again".to_owned()),
        Health::Failed(_) => {
            reasons.push("the read models have failed; the service's log says why".to_owned())
        }
    }
    match tokio::time::timeout(STORE_TIMEOUT, state.reader.head()).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => reasons.push("the store cannot be read".to_owned()),
        Err(_) => reasons.push(format!("the store did not answer within {} s", STORE_TIMEOUT.as_secs())),
    }
    let (head, position) = (state.engine.feed().head().0, state.models.position().0);
    let lag = head.saturating_sub(position);
    if lag > MAX_LAG {
        reasons.push(format!("the read model is {lag} events behind the log"));
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready: reasons.is_empty(), reasons, head, position, lag }))
}
