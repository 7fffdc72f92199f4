//! `job resume`: let a paused job try again.

use anyhow::Context as _;

use super::JobArgs;
use super::view::Acknowledged;
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    job: JobArgs,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let url = server.url(&["v1", "jobs", &args.job.id.to_string(), "resume"]);
    let answer = server.call(|http| http.post(url.clone())).await?;
    let done: Acknowledged = answer.json().await.context("the answer is not what was expected")?;
    if globals.json {
        output::json(&done)?;
    } else {
        output::line(&format!("{} {}", done.id, done.status))?;
    }
    Ok(0)
}
