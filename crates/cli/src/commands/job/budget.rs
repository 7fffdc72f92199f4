//! `job budget`: say how much a job may cost, over all that it has cost.

use anyhow::Context as _;
use quillwork_domain::money::Usd;

use super::JobArgs;
use super::view::Acknowledged;
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    job: JobArgs,
    /// How much the job may cost, over all that it has cost so far.
    #[arg(value_name = "USD")]
    max_cost: Usd,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let url = server.url(&["v1", "jobs", &args.job.id.to_string(), "budget"]);
    let body = serde_json::json!({ "max_cost_usd": args.max_cost.to_string() });
    let answer = server.call(|http| http.post(url.clone()).json(&body)).await?;
    let done: Acknowledged = answer.json().await.context("the answer is not what was expected")?;
    if globals.json {
        output::json(&done)?;
    } else {
        output::line(&format!("{} {}", done.id, done.status))?;
    }
    Ok(0)
}
