//! `up`: API, workers and projections in one process.

use crate::cli::Globals;
use crate::commands::serve::{self, Roles};
use crate::local::Handlers;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder that research searches; the documentation that comes with the binary if absent.
    #[arg(long, value_name = "DIR")]
    corpus: Option<String>,
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let corpus = args.corpus.map(|folder| ("--corpus", "corpus".into(), folder));
    let config = globals.load_with(corpus.into_iter().collect())?;
    serve::run(config, Roles { api: true, handlers: Handlers::All, projector: true }).await
}
