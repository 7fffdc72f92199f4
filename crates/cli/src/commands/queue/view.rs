//! A queue as the server shows it, and what a command made of it.

use anyhow::Context as _;
use quillwork_domain::time::Timestamp;
use reqwest::Response;
use serde::{Deserialize, Serialize};

use crate::cli::Globals;
use crate::output;

/// A queue, as far as people look at it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct QueueView {
    pub(super) handler: String,
    pub(super) paused: bool,
    pub(super) reason: Option<String>,
    pub(super) max_running: Option<u32>,
    pub(super) changed_at: Option<Timestamp>,
    pub(super) changed_by: Option<String>,
}

/// The answer to a command.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Controlled {
    handler: String,
    paused: bool,
    max_running: Option<u32>,
    position: u64,
}

/// `paused` or `running`.
pub(super) fn state(paused: bool) -> &'static str {
    if paused { "paused" } else { "running" }
}

/// The limit, or `none`.
pub(super) fn limit(max_running: Option<u32>) -> String {
    max_running.map_or("none".to_owned(), |max_running| max_running.to_string())
}

/// Prints what a command made of a queue.
pub(super) async fn print_controlled(globals: &Globals, answer: Response) -> anyhow::Result<()> {
    let queue: Controlled = answer.json().await.context("the answer is not what was expected")?;
    if globals.json {
        return output::json(&queue);
    }
    let Controlled { handler, paused, max_running, .. } = queue;
    output::line(&format!("{handler} {}, limit {}", state(paused), limit(max_running)))
}
