//! `retention run`: one pass by hand.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use quillwork_app::feed::Feed;
use quillwork_projections::{Projector, ReadModels};
use quillwork_store::postgres::Hears;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::Globals;
use crate::commands::audit::require_log;
use crate::config::Span;
use crate::exit::Usage;
use crate::retention::{self, Hand, Pass};
use crate::storage::{Storage, Writer, postgres_config};
use crate::{logging, output};

/// How long the read models may take to be where the log is, for each look.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Jobs counted at a time.
const PAGE: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Jobs that ended longer ago than this, such as 30d [default: retention.keep].
    #[arg(long, value_name = "AGE")]
    older_than: Option<Span>,
    /// Write the events into files in this folder first [default: retention.archive_dir].
    #[arg(long, value_name = "DIR", conflicts_with = "drop")]
    archive_to: Option<PathBuf>,
    /// Keep the events nowhere.
    #[arg(long)]
    drop: bool,
    /// Only count.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let settings = globals.load()?.settings;
    logging::start(&settings)?;
    let Some(age) = args.older_than.or(settings.retention.keep) else {
        return Err(
            Usage("say which jobs with --older-than, such as 30d, or set retention.keep".into()).into()
        );
    };
    let archive_dir =
        if args.drop { None } else { args.archive_to.or_else(|| settings.retention.archive_dir.clone()) };
    if archive_dir.is_none() && !args.drop && !args.dry_run {
        return Err(Usage("say where the events go with --archive-to DIR, or --drop them".into()).into());
    }
    if postgres_config(&settings).is_none() {
        require_log(&settings)?;
    }
    let (storage, Writer { writer, .. }) = Storage::open(&settings, Hears::All).await?;
    let models = storage.read_models(&settings).await?;
    let pass = Pass {
        models: models.clone(),
        reader: storage.reader.clone(),
        cutoff: retention::cutoff(age.0),
        archive_dir,
        caller: retention::caller("retention run"),
    };
    let head = storage.reader.head().await?.position;
    let feed = Feed::new(storage.reader.clone(), head);
    let stop = CancellationToken::new();
    let projector = tokio::spawn(Projector::run(models.clone(), feed, stop.clone()));
    while !models.wait_for(head, CATCH_UP).await {
        anyhow::ensure!(
            !projector.is_finished(),
            "the read models cannot be brought up to date; see the log"
        );
        output::note("waiting for the read models to catch up with the log");
    }
    let done = if args.dry_run { count(&models, &pass).await } else { archive(&pass, writer).await };
    stop.cancel();
    projector.await.context("the projector ended badly")??;
    report(globals, args.dry_run, &done?)?;
    Ok(0)
}

async fn archive(
    pass: &Pass,
    writer: Box<dyn quillwork_app::ports::store::LogWriter>,
) -> anyhow::Result<retention::Done> {
    retention::run(pass, &mut Hand::Writer(writer)).await
}

/// What would be archived.
async fn count(models: &ReadModels, pass: &Pass) -> anyhow::Result<retention::Done> {
    let mut done = retention::Done::default();
    let mut after = None;
    loop {
        let page = models.finished(pass.cutoff, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(done) };
        done.jobs += page.len() as u64;
        done.events += page.iter().map(|job| job.version.0).sum::<u64>();
        after = Some(last.clone());
    }
}

fn report(globals: &Globals, dry_run: bool, done: &retention::Done) -> anyhow::Result<()> {
    let retention::Done { jobs, events, files } = done;
    if globals.json {
        return output::json(&json!({ "jobs": jobs, "events": events, "files": files, "dry_run": dry_run }));
    }
    if dry_run {
        return output::line(&format!("{jobs} jobs with {events} events would leave the log"));
    }
    for file in files {
        output::line(&file.display().to_string())?;
    }
    output::line(&format!("{jobs} jobs with {events} events left the log"))
}
