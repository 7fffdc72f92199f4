//! `job events`: the whole history of a job. With `--json` one event a line.

use serde::Deserialize as _;

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

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let events = history(server, args.job.id).await?;
    if globals.json {
        for event in &events {
            output::json(event)?;
        }
        return Ok(0);
    }
    let events = events.into_iter().map(EventView::deserialize).collect::<Result<Vec<_>, _>>()?;
    let rows = events.iter().map(|event| {
        [
            event.version.to_string(),
            event.position.to_string(),
            event.recorded_at.to_string(),
            event.kind.clone(),
            event.actor.clone(),
            event.gist(),
        ]
    });
    output::table(["VERSION", "POSITION", "RECORDED", "EVENT", "ACTOR", "WHAT"], rows)?;
    Ok(0)
}
