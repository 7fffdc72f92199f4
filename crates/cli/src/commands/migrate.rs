//! `migrate`: create or upgrade the schema of the store.

use anyhow::Context as _;
use quillwork_projections::ReadModels;
use quillwork_store::sqlite::{self, DataDir};

use crate::cli::Globals;
use crate::local::read_models;
use crate::output;

pub(crate) async fn run(globals: &Globals) -> anyhow::Result<u8> {
    let settings = globals.load()?.settings;
    let dir = DataDir::own(&settings.data_dir)?;
    let (_writer, reader) = sqlite::open(&dir).context("cannot upgrade the log")?;
    ReadModels::open(&read_models(dir.path()), reader.as_ref())
        .await
        .context("cannot upgrade the read models")?;
    let path = dir.path().display().to_string();
    if globals.json {
        output::json(&serde_json::json!({ "data_dir": path, "up_to_date": true }))?;
    } else {
        output::line(&format!("the schema in {path} is up to date"))?;
    }
    Ok(0)
}
