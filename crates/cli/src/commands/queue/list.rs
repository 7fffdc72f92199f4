//! `queue list`: how each handler's queue is controlled.

use serde::Deserialize;
use serde_json::Value;

use super::view::{QueueView, limit, state};
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<QueueView>,
}

pub(super) async fn run(globals: &Globals, server: &Server) -> anyhow::Result<u8> {
    let page: Value = server.get(server.url(&["v1", "queues"])).await?;
    if globals.json {
        output::json(&page)?;
        return Ok(0);
    }
    let page = Page::deserialize(page)?;
    let rows = page.items.into_iter().map(|queue| {
        [
            queue.handler,
            state(queue.paused).to_owned(),
            limit(queue.max_running),
            queue.changed_at.map(|at| at.to_string()).unwrap_or_default(),
            queue.changed_by.unwrap_or_default(),
            queue.reason.unwrap_or_default(),
        ]
    });
    output::table(["HANDLER", "STATE", "LIMIT", "CHANGED", "BY", "REASON"], rows)?;
    Ok(0)
}
