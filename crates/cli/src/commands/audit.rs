//! `audit`: check or export the log.

mod export;
mod verify;

use clap::Subcommand;

use crate::cli::Globals;
use crate::config::Settings;
use crate::exit::Usage;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Recompute the hash chain and check every rule of the log; exit code 1 if anything is wrong.
    ///
    /// With a stopped server the queue, the idempotency keys and the outputs are checked too; beside a running one, the
    /// log and the outputs.
    Verify(verify::Args),
    /// Write the log as NDJSON, one event a line.
    Export(export::Args),
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    match args.command {
        Command::Verify(args) => verify::run(globals, args).await,
        Command::Export(args) => export::run(globals, args).await,
    }
}

/// Refuses a data directory without a log: it is most likely a mistake, and nothing should be created for it.
pub(crate) fn require_log(settings: &Settings) -> Result<(), Usage> {
    let log = settings.data_dir.join(quillwork_store::sqlite::LOG_FILE);
    if log.is_file() {
        return Ok(());
    }
    Err(Usage(format!("there is no log at {}; name its folder with --data-dir", log.display())))
}
