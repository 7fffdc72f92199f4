//! `config`: what is configured, and what could be.

mod check;
mod schema;
mod show;

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::Globals;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration file together with the environment and the flags.
    Check {
        /// The file; absent for the one that would be used.
        file: Option<PathBuf>,
    },
    /// Print the effective settings, and where each comes from.
    Show,
    /// Print the JSON Schema of the configuration file.
    Schema,
}

pub(crate) fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    match args.command {
        Command::Check { file } => check::run(globals, file),
        Command::Show => show::run(globals),
        Command::Schema => schema::run(),
    }
}
