//! `queue`: pause, resume and limit stage handlers on all processes of a server.

mod limit;
mod list;
mod pause;
mod resume;
mod view;

use clap::Subcommand;

use crate::cli::Globals;
use crate::client::ServerArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the queues, one for each stage handler.
    List,
    /// Start no more stages of a handler; running ones end as they would.
    Pause(pause::Args),
    /// Start stages of a handler again.
    Resume(resume::Args),
    /// Let at most so many stages of a handler run at once, over all processes.
    Limit(limit::Args),
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let server = args.server.server()?;
    match args.command {
        Command::List => list::run(globals, &server).await,
        Command::Pause(args) => pause::run(globals, &server, args).await,
        Command::Resume(args) => resume::run(globals, &server, &args).await,
        Command::Limit(args) => limit::run(globals, &server, &args).await,
    }
}

/// Names one queue.
#[derive(Debug, clap::Args)]
struct QueueArgs {
    /// The stage handler, as `queue list` shows it.
    #[arg(value_name = "HANDLER")]
    handler: String,
}
