//! `queue pause`: start no more stages of a handler.

use super::QueueArgs;
use super::view::print_controlled;
use crate::cli::Globals;
use crate::client::Server;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    queue: QueueArgs,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: Args) -> anyhow::Result<u8> {
    let url = server.url(&["v1", "queues", &args.queue.handler, "pause"]);
    let body = args.reason.map(|reason| serde_json::json!({ "reason": reason }));
    let answer = server
        .call(|http| match &body {
            Some(body) => http.post(url.clone()).json(body),
            None => http.post(url.clone()),
        })
        .await?;
    print_controlled(globals, answer).await?;
    Ok(0)
}
