//! `/v1/queues`: what operators see of each stage handler's queue, and do to it.

pub(crate) mod command;
pub(crate) mod list;
pub(crate) mod show;

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use quillwork_domain::time::Timestamp;
use quillwork_projections::{QueueRow, ReadModelError};
use serde::Serialize;

use crate::params::clip;
use crate::problem::{Kind, Problem};
use crate::state::ApiState;

/// How one handler's queue is controlled, in all processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct QueueView {
    pub(crate) handler: String,
    pub(crate) paused: bool,
    pub(crate) reason: Option<String>,
    pub(crate) max_running: Option<u32>,
    /// None if nobody ever touched the queue.
    pub(crate) changed_at: Option<Timestamp>,
    pub(crate) changed_by: Option<String>,
}

impl QueueView {
    fn untouched(handler: &str) -> Self {
        Self {
            handler: handler.to_owned(),
            paused: false,
            reason: None,
            max_running: None,
            changed_at: None,
            changed_by: None,
        }
    }
}

impl From<QueueRow> for QueueView {
    fn from(row: QueueRow) -> Self {
        Self {
            handler: row.handler,
            paused: row.paused,
            reason: row.reason,
            max_running: row.max_running,
            changed_at: Some(row.changed_at),
            changed_by: Some(row.actor),
        }
    }
}

/// The handlers that pipelines use, once for each stage.
fn handlers(state: &ApiState) -> impl Iterator<Item = &str> {
    state.catalog.pipelines().flat_map(|(_, plan)| plan.stages()).map(|stage| &*stage.handler)
}

/// True if a pipeline uses `handler`.
fn in_catalog(state: &ApiState, handler: &str) -> bool {
    handlers(state).any(|known| known == handler)
}

/// The queues of all handlers that a pipeline uses, and of those whose queue was ever touched; by name.
pub(crate) async fn all(state: &ApiState) -> Result<Vec<QueueView>, ReadModelError> {
    let mut queues: BTreeMap<String, QueueView> =
        handlers(state).map(|handler| (handler.to_owned(), QueueView::untouched(handler))).collect();
    for row in state.models.queues().await? {
        queues.insert(row.handler.clone(), row.into());
    }
    Ok(queues.into_values().collect())
}

/// The queue that a path names.
pub(crate) struct PathQueue(pub(crate) String);

impl FromRequestParts<ApiState> for PathQueue {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let path: Result<Path<String>, _> = Path::from_request_parts(parts, state).await;
        let Path(handler) = path
            .map_err(|_| Problem::new(Kind::UnknownQueue, "the name of a handler is UTF-8, URL-encoded"))?;
        Ok(Self(handler))
    }
}

/// The queue of `handler`, if there is one.
async fn find(state: &ApiState, handler: &str) -> Result<QueueView, Problem> {
    let queues = all(state).await?;
    let known = || queues.iter().map(|queue| queue.handler.as_str()).collect::<Vec<_>>().join(", ");
    queues.iter().find(|queue| queue.handler == handler).cloned().ok_or_else(|| {
        let detail =
            format!("no pipeline has the handler {:?}; the handlers are: {}", clip(handler), known());
        Problem::new(Kind::UnknownQueue, detail)
    })
}
