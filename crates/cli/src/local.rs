//! An engine with its workers, on the store of this process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use quillwork_app::budgets::TenantBudgets;
use quillwork_app::catalog::Catalog;
use quillwork_app::engine::{Engine, EngineConfig, EngineGone, start};
use quillwork_app::follow::follow;
use quillwork_app::ports::store::LogReader;
use quillwork_worker::stage::StageHandler;
use quillwork_worker::stages::all;
use quillwork_worker::start::{Bulkhead, Workers};
use tokio::task::JoinSet;

use crate::config::{Config, Settings};
use crate::outside::Outside;
use crate::start_rates::{self, StartRates};
use crate::storage::{Storage, Writer};

/// What runs.
pub(crate) struct Local {
    pub(crate) engine: Engine,
    pub(crate) reader: Arc<dyn LogReader>,
    pub(crate) catalog: Arc<Catalog>,
    rates: StartRates,
    workers: JoinSet<()>,
    /// Has the outcome of the engine once that has ended.
    ended: JoinSet<Result<(), EngineGone>>,
    /// Listens to what other processes write.
    following: JoinSet<()>,
}

/// Which stage handlers run in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Handlers {
    None,
    All,
    Only(Vec<String>),
}

impl Handlers {
    fn include(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Only(names) => names.iter().any(|chosen| chosen == name),
        }
    }
}

impl Local {
    /// Starts to work on what waits in the store.
    pub(crate) async fn start(
        config: &Config,
        storage: &Storage,
        writer: Writer,
        outside: &Outside,
        run: &Handlers,
        budgets: Option<Arc<TenantBudgets>>,
    ) -> anyhow::Result<Self> {
        let settings = &config.settings;
        let rates = start_rates::of(settings, &outside.limiter)?;
        let handlers = all(outside.providers.clone());
        let catalog = Arc::new(catalog(config, &handlers)?);
        let bulkheads = handlers
            .into_iter()
            .filter(|handler| run.include(&handler.name))
            .map(|handler| {
                let configured = settings.stages.get(&*handler.name).and_then(|stage| stage.concurrency);
                let slots = configured.map_or(handler.default_concurrency, |slots| slots as usize);
                Bulkhead { slots, start_rate: rates.get(&*handler.name).cloned(), handler }
            })
            .collect();
        let (workers, ports) = Workers::new(bulkheads);
        let workers = workers.with_budgets(budgets);
        let Writer { writer, watch } = writer;
        let reader = storage.reader.clone();
        let thread = start(engine_config(settings), writer, reader.clone(), ports).await?;
        let engine = thread.engine();
        let mut following = JoinSet::new();
        if let Some(watch) = watch {
            following.spawn(follow(watch, engine.feed().clone(), Some(engine.clone())));
        }
        let workers = workers.start(&engine);
        let mut ended = JoinSet::new();
        ended.spawn(thread.join());
        Ok(Self { engine, reader, catalog, rates, workers, ended, following })
    }

    /// Resolves only if the engine ends without being told to.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match self.ended.join_next().await {
            Some(Ok(Err(gone))) => gone.into(),
            Some(Ok(Ok(())) | Err(_)) | None => anyhow::anyhow!("the engine ended without being told to"),
        }
    }

    /// Starts nothing more, lets running stages finish within `grace` and gives the others back.
    pub(crate) async fn drain(&self, grace: Duration) {
        // In this order: what waits for its turn is given back when nothing starts any more.
        let drain = async { tokio::join!(self.engine.drain(), async { start_rates::close(&self.rates) }) };
        if tokio::time::timeout(grace, drain).await.is_err() {
            tracing::warn!(
                running = self.engine.running(),
                "the grace period is over; running stages are given back"
            );
            self.engine.release().await;
        }
    }

    /// Ends when everything that the engine was given is committed.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.engine.stop();
        while let Some(ended) = self.ended.join_next().await {
            ended.context("the engine ended badly")??;
        }
        // What a cancelled stage still does in its thread is of no more interest.
        self.workers.abort_all();
        while self.workers.join_next().await.is_some() {}
        self.following.shutdown().await;
        Ok(())
    }
}

/// What clients may ask for.
fn catalog(config: &Config, handlers: &[StageHandler]) -> anyhow::Result<Catalog> {
    let plans = config.settings.plans().map_err(|(key, reason)| config.wrong(&key, reason))?;
    let checks = handlers
        .iter()
        .map(|handler| (handler.name.as_ref().to_owned(), handler.check_settings.clone()))
        .collect();
    let catalog = Catalog::new(plans, config.settings.default_pipeline.clone(), checks)?;
    let settings = &config.settings;
    Ok(catalog.with_job_budget(settings.budgets.of_a_job()).with_unpriced(settings.unpriced_models()))
}

/// The name of this process in events and logs, for people.
pub(crate) fn process_name() -> String {
    let host = std::env::var("HOSTNAME")
        .unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned());
    format!("{host}:{}", std::process::id())
}

fn engine_config(settings: &Settings) -> EngineConfig {
    EngineConfig {
        worker: process_name(),
        lease: settings.lease.0,
        max_pending: settings.limits.max_pending,
        max_backlog: settings.limits.max_backlog,
        max_batch: settings.limits.max_batch as usize,
        cache_bytes: usize::try_from(settings.limits.cache_bytes).unwrap_or(usize::MAX),
    }
}
