//! `rebuild`: the queue and the read models anew, from the log.

use anyhow::Context as _;
use quillwork_app::audit::derive_queue;
use quillwork_app::clock;
use quillwork_app::feed::Feed;
use quillwork_app::ports::store::{LogReader as _, LogWriter as _};
use quillwork_store::sqlite::{self, DataDir};
use serde_json::json;

use crate::cli::Globals;
use crate::local::read_models;
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
    super::audit::require_log(&settings)?;
    let dir = DataDir::own(&settings.data_dir)?;
    let (mut writer, reader) = sqlite::open(&dir).context("cannot open the log")?;
    let mut rebuilt = json!({});

    if !args.only_read_models {
        let derived = derive_queue(reader.as_ref()).await.context("cannot derive the queue")?;
        // Expired at once, so that the next start takes over what was running.
        let lost = writer.open_lease("rebuild", clock::now()).await?;
        let tasks: Vec<_> =
            derived.tasks.into_iter().map(|derived| (derived.task, derived.held.then_some(lost))).collect();
        writer.replace_queue(&tasks, &derived.keys).await.context("cannot replace the queue")?;
        rebuilt["tasks"] = tasks.len().into();
        rebuilt["idempotency_keys"] = derived.keys.len().into();
    }
    if !args.only_queue {
        let head = reader.head().await?;
        let feed = Feed::new(reader, head.position);
        let done = quillwork_projections::rebuild(&read_models(dir.path()), &feed).await?;
        rebuilt["read_models_position"] = done.position.0.into();
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
