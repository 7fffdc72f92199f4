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
    /// How many calls to show.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Go on where an earlier list ended (`next_cursor` of its JSON).
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct JobCost {
    #[serde(flatten)]
    cost: Cost,
    items: Vec<PaidCall>,
    next_cursor: Option<String>,
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
    let mut url = server.url(&["v1", "jobs", &args.job.id.to_string(), "cost"]);
    url.query_pairs_mut().append_pair("limit", &args.limit.to_string());
    if let Some(cursor) = &args.cursor {
        url.query_pairs_mut().append_pair("cursor", cursor);
    }
    let answer: Value = server.get(url).await?;
    if globals.json {
        output::json(&answer)?;
        return Ok(0);
    }
    let JobCost { cost, items, next_cursor } = JobCost::deserialize(answer)?;
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
    if let Some(cursor) = next_cursor {
        output::note(&format!("there are more; go on with --cursor {cursor}"));
    }
    output::note(&cost.gist());
    Ok(0)
}
