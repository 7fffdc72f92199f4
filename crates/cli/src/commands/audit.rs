//! `audit`: check or export the log.

mod export;
mod verify;

use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;
use quillwork_app::ports::store::{LogReader, LogWriter as _, StoreError};
use quillwork_store::postgres;
use quillwork_store::sqlite::{self, DataDir, DataDirError};

use crate::cli::Globals;
use crate::config::Settings;
use crate::exit::Usage;
use crate::storage::postgres_config;

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

/// A log that is opened to be read.
struct Log {
    reader: Arc<dyn LogReader>,
    /// Nobody writes meanwhile, so that what follows from the log can be compared with it.
    still: bool,
    /// Keeps others out.
    _dir: Option<DataDir>,
}

/// Opens the log of the settings without changing anything.
async fn open_log(settings: &Settings) -> anyhow::Result<Result<Log, Damaged>> {
    if let Some(config) = postgres_config(settings) {
        let reader = postgres::open(&config, false).await?.reader;
        let still = !postgres::writer(&config)?.survey().await?.shared;
        return Ok(Ok(Log { reader, still, _dir: None }));
    }
    require_log(settings)?;
    let dir = match DataDir::own(&settings.data_dir) {
        Ok(dir) => Some(dir),
        Err(DataDirError::InUse { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    match sqlite::open_reader(&settings.data_dir) {
        Ok(reader) => Ok(Ok(Log { reader, still: dir.is_some(), _dir: dir })),
        Err(StoreError::Corrupt(message)) => Ok(Err(Damaged(message))),
        Err(error) => Err(error).context("cannot open the log"),
    }
}

/// The log cannot even be opened.
struct Damaged(String);

/// Refuses a data directory without a log: it is most likely a mistake, and nothing should be created for it.
pub(crate) fn require_log(settings: &Settings) -> Result<(), Usage> {
    let log = settings.data_dir.join(sqlite::LOG_FILE);
    if log.is_file() {
        return Ok(());
    }
    Err(Usage(format!("there is no log at {}; name its folder with --data-dir", log.display())))
}
