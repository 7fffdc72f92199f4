//! `content`: what readers did with articles.

mod analytics;
mod list;
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
    /// List articles, those that readers viewed most first.
    List(list::Args),
    /// Show the views and ratings of an article.
    Analytics(analytics::Args),
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let server = args.server.server()?;
    match args.command {
        Command::List(args) => list::run(globals, &server, args).await,
        Command::Analytics(args) => analytics::run(globals, &server, &args).await,
    }
}
