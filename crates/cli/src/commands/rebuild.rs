//! `rebuild`: the queue and the read models anew, from the log.

use std::time::Duration;

use anyhow::Context as _;
use quillwork_app::audit::derive_queue;
use quillwork_store::postgres::Hears;
use serde_json::json;

use crate::cli::Globals;
use crate::exit::Usage;
use crate::storage::{Storage, Writer, postgres_config};
use crate::{logging, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the read models as they are.
    #[arg(long, conflicts_with = "only_read_models")]
    only_queue: bool,
    /// Leave the queue as it is.
    #[arg(long)]
    only_read_models: bool,
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let settings = globals.load()?.settings;
    logging::start(&settings)?;
    if postgres_config(&settings).is_none() {
        super::audit::require_log(&settings)?;
    }
    let (storage, Writer { mut writer, .. }) = Storage::open(&settings, Hears::All).await?;
    let mut rebuilt = json!({});

    if !args.only_read_models {
        if writer.survey().await?.shared {
            return Err(Usage(
                "the queue can be rebuilt only while no other process works on the store; stop them, or use --only-read-models. One that was killed counts until its lease has run out: wait some seconds then".into(),
            )
            .into());
        }
        let derived = derive_queue(storage.reader.clone()).await.context("cannot derive the queue")?;
        // Over at once, so that the next start takes over what was running.
        let lost = writer.open_lease("rebuild", Duration::ZERO).await?;
        let tasks: Vec<_> =
            derived.tasks.into_iter().map(|derived| (derived.task, derived.held.then_some(lost))).collect();
        writer.replace_queue(&tasks, &derived.keys).await.context("cannot replace the queue")?;
        rebuilt["tasks"] = tasks.len().into();
        rebuilt["idempotency_keys"] = derived.keys.len().into();
    }
    if !args.only_queue {
        rebuilt["read_models_position"] = storage.rebuild_read_models().await?.0.into();
    }
    if globals.json {
        output::json(&rebuilt)?;
    } else {
        let members = rebuilt.as_object().into_iter().flatten();
        let said: Vec<String> =
            members.map(|(name, value)| format!("{}: {value}", name.replace('_', " "))).collect();
        output::line(&format!("rebuilt from the log; {}", said.join(", ")))?;
    }
    Ok(0)
}
