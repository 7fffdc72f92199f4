//! `config schema`: the JSON Schema of the configuration file, for editors.

use crate::config::Settings;
use crate::output;

pub(super) fn run() -> anyhow::Result<u8> {
    let schema = schemars::schema_for!(Settings);
    output::line(&serde_json::to_string_pretty(&schema)?)?;
    Ok(0)
}
