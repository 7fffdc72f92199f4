//! `job timeline`: when each attempt of each stage ran, and how it ended.

use quillwork_domain::time::Timestamp;
use serde::{Deserialize as _, Serialize};

use super::JobArgs;
use super::view::{EventView, history};
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    job: JobArgs,
}

/// One attempt of a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    stage: String,
    attempt: u64,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    duration_ms: Option<u64>,
    outcome: String,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let events = history(server, args.job.id).await?;
    let events = events.into_iter().map(EventView::deserialize).collect::<Result<Vec<_>, _>>()?;
    let rows = attempts(&events);
    if globals.json {
        output::json(&rows)?;
        return Ok(0);
    }
    let rows = rows.into_iter().map(|row| {
        [
            row.stage,
            row.attempt.to_string(),
            row.started_at.to_string(),
            row.duration_ms.map(|millis| format!("{millis} ms")).unwrap_or_default(),
            row.outcome,
        ]
    });
    output::table(["STAGE", "ATTEMPT", "STARTED", "TOOK", "OUTCOME"], rows)?;
    Ok(0)
}

/// Pairs each start with its end.
fn attempts(events: &[EventView]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for event in events {
        let outcome = match event.kind.as_str() {
            "StageStarted" => {
                rows.push(Row {
                    stage: event.text("stage").to_owned(),
                    attempt: event.attempt(),
                    started_at: event.recorded_at,
                    ended_at: None,
                    duration_ms: None,
                    outcome: "running".into(),
                });
                continue;
            }
            "StageCompleted" => "completed".to_owned(),
            "StageFailed" => format!("{}: {}", event.text("class"), event.text("error")),
            "JobCancelled" => "cancelled".to_owned(),
            // Everything else ends no attempt.
            _ => continue,
        };
        if let Some(row) = rows.last_mut().filter(|row| row.ended_at.is_none()) {
            let millis = event.recorded_at.since(row.started_at).as_millis();
            row.ended_at = Some(event.recorded_at);
            row.duration_ms = u64::try_from(millis).ok();
            row.outcome = outcome;
        }
    }
    rows
}
