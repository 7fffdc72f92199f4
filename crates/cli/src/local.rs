//! An engine with its workers, on a data directory that this process owns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use quillwork_app::catalog::Catalog;
use quillwork_app::engine::{Engine, EngineConfig, EngineGone, start};
use quillwork_app::ports::store::LogReader;
use quillwork_store::sqlite::{self, DataDir};
use quillwork_worker::stage::StageHandler;
use quillwork_worker::start::{Bulkhead, Workers};
use tokio::task::JoinSet;

use crate::config::{Config, Settings};
use crate::stages;

/// The file of the read models in a data directory.
pub(crate) fn read_models(data_dir: &Path) -> PathBuf {
    data_dir.join("read.db")
}

/// What runs.
pub(crate) struct Local {
    pub(crate) engine: Engine,
    pub(crate) reader: Arc<dyn LogReader>,
    pub(crate) catalog: Arc<Catalog>,
    workers: JoinSet<()>,
    /// Has the outcome of the engine once that has ended.
    ended: JoinSet<Result<(), EngineGone>>,
    dir: DataDir,
}

impl Local {
    /// Takes the data directory, opens its log and starts to work on what waits there.
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Self> {
        let settings = &config.settings;
        let handlers = stages::handlers(settings);
        let catalog = Arc::new(catalog(config, &handlers)?);

        let dir = DataDir::own(&settings.data_dir)?;
        let (writer, reader) = sqlite::open(&dir).context("cannot open the log")?;
        let reader: Arc<dyn LogReader> = reader;

        let bulkheads = handlers
            .into_iter()
            .map(|handler| {
                let configured = settings.stages.get(handler.name).map(|stage| stage.concurrency as usize);
                Bulkhead { slots: configured.unwrap_or(handler.default_concurrency), handler }
            })
            .collect();
        let (workers, ports) = Workers::new(bulkheads);
        let thread = start(engine_config(settings), Box::new(writer), reader.clone(), ports).await?;
        let engine = thread.engine();
        let workers = workers.start(&engine);
        let mut ended = JoinSet::new();
        ended.spawn(thread.join());
        Ok(Self { engine, reader, catalog, workers, ended, dir })
    }

    /// Resolves only if the engine ends without being told to.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match self.ended.join_next().await {
            Some(Ok(Err(gone))) => gone.into(),
            Some(Ok(Ok(())) | Err(_)) | None => anyhow::anyhow!("the engine ended without being told to"),
        }
    }

    /// Starts nothing more, lets running stages finish within `grace`, gives the others back and ends.
    ///
    /// Returns the data directory: it is the last to let go, when nobody else has a file of it open.
    pub(crate) async fn end(mut self, grace: Duration) -> anyhow::Result<DataDir> {
        if tokio::time::timeout(grace, self.engine.drain()).await.is_err() {
            tracing::warn!(
                running = self.engine.running(),
                "the grace period is over; running stages are given back"
            );
            self.engine.release().await;
        }
        self.engine.stop();
        while let Some(ended) = self.ended.join_next().await {
            ended.context("the engine ended badly")??;
        }
        // What a cancelled stage still does in its thread is of no more interest.
        self.workers.abort_all();
        while self.workers.join_next().await.is_some() {}
        Ok(self.dir)
    }
}

/// What clients may ask for.
fn catalog(config: &Config, handlers: &[StageHandler]) -> anyhow::Result<Catalog> {
    let plans = config.settings.plans().map_err(|(key, reason)| config.wrong(&key, reason))?;
    let checks = handlers.iter().map(|handler| (handler.name.to_owned(), handler.check_settings)).collect();
    Ok(Catalog::new(plans, config.settings.default_pipeline.clone(), checks)?)
}

fn engine_config(settings: &Settings) -> EngineConfig {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "local".to_owned());
    EngineConfig {
        worker: format!("{host}:{}", std::process::id()),
        lease: settings.lease.0,
        max_pending: settings.limits.max_pending,
        max_backlog: settings.limits.max_backlog,
        max_batch: settings.limits.max_batch as usize,
        cache_bytes: usize::try_from(settings.limits.cache_bytes).unwrap_or(usize::MAX),
    }
}
