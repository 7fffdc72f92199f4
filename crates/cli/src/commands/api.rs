//! `api`: only the API. Any number of them.

use crate::cli::Globals;
use crate::commands::serve::{self, Roles};
use crate::local::Handlers;

pub(crate) async fn run(globals: &Globals) -> anyhow::Result<u8> {
    let config = globals.load_with(vec![])?;
    config.require_shared_store("api")?;
    serve::run(config, Roles { api: true, handlers: Handlers::None, projector: false }).await
}
