//! `migrate`: create or upgrade the schema of the store.

use quillwork_store::postgres::Hears;

use crate::cli::Globals;
use crate::output;
use crate::storage::Storage;

pub(crate) async fn run(globals: &Globals) -> anyhow::Result<u8> {
    let mut settings = globals.load()?.settings;
    // Whatever the settings allow a serving process to do: this is the command for it.
    settings.postgres.auto_migrate = true;
    let (storage, _writer) = Storage::open(&settings, Hears::All).await?;
    storage.read_models(&settings).await?;
    let place = storage.place();
    if globals.json {
        output::json(&serde_json::json!({ "store": place, "up_to_date": true }))?;
    } else {
        output::line(&format!("the schema in {place} is up to date"))?;
    }
    Ok(0)
}
