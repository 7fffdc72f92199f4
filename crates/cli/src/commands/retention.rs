//! `retention`: take finished jobs out of the log.

mod run;

use clap::Subcommand;

use crate::cli::Globals;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Archive or drop the jobs that ended long ago, now.
    ///
    /// With SQLite the server must be stopped; with PostgreSQL it works beside running processes.
    Run(run::Args),
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    match args.command {
        Command::Run(args) => run::run(globals, args).await,
    }
}
