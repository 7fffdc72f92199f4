//! `job get`: a job as it is now.

use serde::Deserialize as _;
use serde_json::Value;

use super::JobArgs;
use super::view::JobView;
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    job: JobArgs,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let job: Value = server.get(server.url(&["v1", "jobs", &args.job.id.to_string()])).await?;
    if globals.json {
        output::json(&job)?;
    } else {
        JobView::deserialize(job)?.print()?;
    }
    Ok(0)
}
