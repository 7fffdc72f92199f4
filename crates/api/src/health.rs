//! `/healthz` and `/readyz`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use quillwork_projections::Health;
use serde::Serialize;

use crate::schema;
use crate::state::Ops;

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
    /// The last event that the read model shows; None in a process that has nothing to do with it.
    position: Option<u64>,
    lag: Option<u64>,
}

/// Tell whether the process should get requests.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "readyz",
    responses(
        (status = 200, description = "It should", body = schema::Ready),
        (status = 503, description = "It should not, for these reasons", body = schema::Ready),
    )
)]
pub(crate) async fn readyz(State(ops): State<Ops>) -> (StatusCode, Json<Ready>) {
    let mut reasons = Vec::new();
    if ops.is_ending() {
        reasons.push("the process is shutting down".to_owned());
    }
    if !ops.engine.is_alive() {
        reasons.push("the engine has ended".to_owned());
    }
    if let Some(trouble) = ops.engine.trouble() {
        reasons.push(trouble);
    }
    if let Some(models) = &ops.models {
        reasons.extend(trouble(&models.health()).map(str::to_owned));
    }
    match tokio::time::timeout(STORE_TIMEOUT, ops.reader.head()).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => reasons.push("the store cannot be read".to_owned()),
        Err(_) => reasons.push(format!("the store did not answer within {} s", STORE_TIMEOUT.as_secs())),
    }
    let head = ops.engine.feed().head().0;
    let position = ops.models.as_ref().map(|models| models.position().0);
    let lag = position.map(|position| head.saturating_sub(position));
    if let Some(lag) = lag.filter(|lag| *lag > MAX_LAG) {
        reasons.push(format!("the read model is {lag} events behind the log"));
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready: reasons.is_empty(), reasons, head, position, lag }))
}

/// Why the read models should not be asked, if so. What exactly is wrong with them is in the log, not for everyone.
fn trouble(health: &Health) -> Option<&'static str> {
    match health {
        // A standby leaves the writing to another process, and reads what that writes.
        Health::Running | Health::Standby => None,
        Health::CatchingUp => Some("the read models are catching up with the log"),
        Health::Idle => Some("the projector does not run"),
        Health::Retrying(_) => Some("the projector cannot go on and tries again"),
        Health::Failed(_) => Some("the read models have failed; the service's log says why"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_is_ready() {
        assert_eq!(trouble(&Health::Running), None);
        assert_eq!(trouble(&Health::Standby), None);
        for health in
            [Health::CatchingUp, Health::Idle, Health::Retrying("x".into()), Health::Failed("x".into())]
        {
            assert!(trouble(&health).is_some(), "{health:?}");
        }
    }
}
