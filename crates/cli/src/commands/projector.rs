//! `projector`: only the projections. One of them works, the others stand by.

use crate::cli::Globals;
use crate::commands::serve::{self, Roles};
use crate::local::Handlers;

pub(crate) async fn run(globals: &Globals) -> anyhow::Result<u8> {
    let config = globals.load_with(vec![])?;
    config.require_shared_store("projector")?;
    serve::run(config, Roles { api: false, handlers: Handlers::None, projector: true }).await
}
