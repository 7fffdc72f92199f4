//! `job cost`: what a job has cost, call by call.

use serde::Deserialize;
use serde_json::Value;

use super::JobArgs;
use super::view::Cost;
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    job: JobArgs,
}

#[derive(Debug, Deserialize)]
struct JobCost {
    #[serde(flatten)]
    cost: Cost,
    items: Vec<PaidCall>,
}

#[derive(Debug, Deserialize)]
struct PaidCall {
    stage: String,
    step: String,
    attempt: u32,
    provider: String,
    model: String,
    input_tokens: u64,
    output_tokens: u64,
    cost_usd: String,
    prices: Option<String>,
    position: u64,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let answer: Value = server.get(server.url(&["v1", "jobs", &args.job.id.to_string(), "cost"])).await?;
    if globals.json {
        output::json(&answer)?;
        return Ok(0);
    }
    let JobCost { cost, items } = JobCost::deserialize(answer)?;
    let rows = items.into_iter().map(|call| {
        [
            call.position.to_string(),
            call.stage,
            call.step,
            call.attempt.to_string(),
            call.provider,
            call.model,
            call.input_tokens.to_string(),
            call.output_tokens.to_string(),
            call.cost_usd,
            call.prices.unwrap_or_default(),
        ]
    });
    let header = ["POSITION", "STAGE", "STEP", "ATTEMPT", "PROVIDER", "MODEL", "IN", "OUT", "USD", "PRICES"];
    output::table(header, rows)?;
    output::note(&cost.gist());
    Ok(0)
}
