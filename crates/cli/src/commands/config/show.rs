//! `config show`: the effective settings, and where each comes from.

use serde_json::json;

use crate::cli::Globals;
use crate::config::show_value;
use crate::output;

pub(super) fn run(globals: &Globals) -> anyhow::Result<u8> {
    let config = globals.load()?;
    if globals.json {
        let settings: serde_json::Map<_, _> = config
            .values
            .into_iter()
            .map(|(key, (value, origin))| {
                (key, json!({ "value": show_value(&value), "from": origin.to_string() }))
            })
            .collect();
        output::json(&settings)?;
    } else {
        let rows = config
            .values
            .iter()
            .map(|(key, (value, origin))| [key.clone(), show_value(value).to_string(), origin.to_string()]);
        output::table(["SETTING", "VALUE", "FROM"], rows)?;
    }
    Ok(0)
}
