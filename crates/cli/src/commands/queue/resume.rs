//! `queue resume`: start stages of a handler again.

use super::QueueArgs;
use super::view::print_controlled;
use crate::cli::Globals;
use crate::client::Server;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    queue: QueueArgs,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let url = server.url(&["v1", "queues", &args.queue.handler, "resume"]);
    let answer = server.call(|http| http.post(url.clone())).await?;
    print_controlled(globals, answer).await?;
    Ok(0)
}
