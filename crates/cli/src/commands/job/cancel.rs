//! `job cancel`: stop a job, wherever it is.

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
    /// Why, for the record.
    #[arg(long)]
    reason: Option<String>,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: Args) -> anyhow::Result<u8> {
    let url = server.url(&["v1", "jobs", &args.job.id.to_string(), "cancel"]);
    let body = args.reason.map(|reason| serde_json::json!({ "reason": reason }));
    let answer = server
        .call(|http| match &body {
            Some(body) => http.post(url.clone()).json(body),
            None => http.post(url.clone()),
        })
        .await?;
    let done: Acknowledged = answer.json().await.context("the answer is not what was expected")?;
    if globals.json {
        output::json(&done)?;
    } else {
        output::line(&format!("{} {}", done.id, done.status))?;
    }
    Ok(0)
}
