//! `config check`: is this configuration usable?

use std::path::PathBuf;

use prometheus_client::registry::Registry;
use serde_json::json;

use crate::cli::Globals;
use crate::output;
use crate::outside::Outside;

pub(super) fn run(globals: &Globals, file: Option<PathBuf>) -> anyhow::Result<u8> {
    let globals = Globals { config: file.or_else(|| globals.config.clone()), ..globals.clone() };
    let config = globals.load()?;
    // What the process would make of it: prompts, searches, models, services. Nobody is asked anything.
    Outside::new(&config.settings, None, &mut Registry::default())?;
    if globals.json {
        output::json(&json!({ "ok": true, "settings": config.settings }))?;
    } else {
        output::line("the configuration is valid")?;
    }
    Ok(0)
}
