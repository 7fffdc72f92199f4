//! A serving process: an engine, and whichever of API, workers and projections it is to run.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use quillwork_api::{ApiState, HttpMetrics, Limits, Ops, Resources, ops_router, router, serve as serve_http};
use quillwork_app::budgets::TenantBudgets;
use quillwork_projections::{Projector, ReadModels};
use quillwork_store::postgres::Hears;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Settings};
use crate::exit::INTERRUPTED;
use crate::local::{Handlers, Local, process_name};
use crate::logging;
use crate::open_files;
use crate::outside::Outside;
use crate::retention;
use crate::signals::Signals;
use crate::storage::Storage;

/// How long the last answers may take once nothing runs any more: longer than the server itself gives them.
const LAST_ANSWERS: Duration = Duration::from_secs(12);

/// What a process does besides committing what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) api: bool,
    pub(crate) handlers: Handlers,
    pub(crate) projector: bool,
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = match &self.handlers {
            Handlers::None => None,
            Handlers::All => Some("workers".to_owned()),
            Handlers::Only(names) => Some(format!("workers of {}", names.join(", "))),
        };
        let roles =
            [self.api.then(|| "api".to_owned()), workers, self.projector.then(|| "projector".to_owned())];
        f.write_str(&roles.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Runs until a signal; returns the exit code.
pub(crate) async fn run(config: Config, roles: Roles) -> anyhow::Result<u8> {
    let settings = &config.settings;
    logging::start(settings)?;
    open_files::allow(u64::from(settings.limits.connections));
    let mut signals = Signals::new()?;
    let listener = match address(&config, &roles) {
        Some(address) => Some(listen(address).await?),
        None => None,
    };

    let reads = roles.api || roles.projector;
    let hears = if reads { Hears::All } else { Hears::Work };
    let (storage, writer) = Storage::open(settings, hears).await?;
    let mut registry = Registry::default();
    let outside = Outside::new(settings, storage.cache(settings)?, &mut registry)?;
    let limits = settings.budgets.of_a_day();
    let is_limited = roles.handlers != Handlers::None && !limits.is_empty();
    // A process that only works reads what tenants have spent, if they are limited.
    let read_models = if reads || is_limited { Some(storage.read_models(settings).await?) } else { None };
    let budgets = read_models.clone().filter(|_| is_limited);
    let budgets = budgets.map(|models| Arc::new(TenantBudgets::new(limits, Arc::new(models))));
    let mut local = Local::start(&config, &storage, writer, &outside, &roles.handlers, budgets).await?;
    // Ended with the process, wherever they are.
    let mut attendants = JoinSet::new();
    if roles.handlers != Handlers::None {
        attendants.spawn(outside.warm_up());
    }
    if let Some(relay) = outside.relay(local.engine.drafts()) {
        attendants.spawn(relay);
    }
    let mut background = JoinSet::new();
    let stop_models = CancellationToken::new();
    let (draining, stop_http) = (CancellationToken::new(), CancellationToken::new());
    let models = read_models.filter(|_| reads);
    // A projector follows by itself while it stands by.
    if let Some(models) = models.as_ref().filter(|_| storage.is_shared() && !roles.projector) {
        background.spawn(models.clone().follow(stop_models.clone()));
    }
    if let Some(models) = models.as_ref().filter(|_| roles.projector) {
        let run = Projector::run(models.clone(), local.engine.feed().clone(), stop_models.clone());
        background.spawn(async move {
            // It has told its health and its log why it stopped.
            let _ = run.await;
        });
    }

    if let Some(models) = models.as_ref().filter(|_| roles.projector && settings.retention.keep.is_some()) {
        let (models, engine) = (models.clone(), local.engine.clone());
        let (policy, reader) = (settings.retention.clone(), storage.reader.clone());
        background.spawn(retention::keep(policy, models, engine, reader, draining.clone()));
    }

    let mut http = JoinSet::new();
    if let Some(listener) = listener {
        let address = listener.local_addr().context("the listening socket has no address")?;
        let http_metrics = HttpMetrics::register(&mut registry);
        let ops = Ops {
            engine: local.engine.clone(),
            models: models.clone(),
            reader: storage.reader.clone(),
            registry: Arc::new(registry),
            draining: draining.clone(),
            shutdown: stop_http.clone(),
        };
        let routes = match models.filter(|_| roles.api) {
            Some(models) => router(api_state(settings, &local, models, http_metrics, ops)),
            None => ops_router(ops),
        };
        let n_connections = settings.limits.connections as usize;
        http.spawn(serve_http(listener, routes, n_connections, stop_http.clone()));
        tracing::info!(%address, "listening on http://{address}");
    }
    tracing::info!(%roles, name = process_name(), "started");

    tokio::select! {
        () = signals.next() => tracing::info!("ending: running stages may finish; a second signal ends at once"),
        error = local.failed() => return Err(error),
        Some(_) = http.join_next() => anyhow::bail!("the API ended without being told to"),
    }
    let end = async {
        // Health, metrics and queries answer as long as stages may run; what is submitted now runs elsewhere, or at
        // the next start.
        draining.cancel();
        if roles.api {
            // Whoever sends requests here learns from /readyz that he should stop.
            tokio::time::sleep(drain_delay(settings, &storage)).await;
        }
        local.drain(settings.shutdown_grace.0).await;
        stop_http.cancel();
        // A client that does not read its answer must not hold up the end.
        if tokio::time::timeout(LAST_ANSWERS, http.join_next()).await.is_err() {
            tracing::warn!("some clients did not take their answers; their connections are cut");
        }
        // Requests that were accepted are committed, and only then the engine ends.
        let ended = local.end().await;
        stop_models.cancel();
        while background.join_next().await.is_some() {}
        ended
    };
    tokio::select! {
        ended = end => ended.map(|()| 0),
        () = signals.next() => Ok(INTERRUPTED),
    }
}

/// Where to listen: always for the API, and where it was asked for by those who have only their health to tell.
fn address(config: &Config, roles: &Roles) -> Option<SocketAddr> {
    let settings = &config.settings;
    if roles.api || config.is_flag("listen") { Some(settings.listen) } else { settings.health_listen }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; another process may do so: choose another address with --listen")
    })?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the API has no authentication and is open to everyone who can reach this address");
    }
    Ok(listener)
}

fn drain_delay(settings: &Settings, storage: &Storage) -> Duration {
    match settings.drain_delay {
        Some(delay) => delay.0,
        // Another process can take over only where the store is shared.
        None if storage.is_shared() => Duration::from_secs(2),
        None => Duration::ZERO,
    }
}

fn api_state(
    settings: &Settings,
    local: &Local,
    models: ReadModels,
    metrics: HttpMetrics,
    ops: Ops,
) -> ApiState {
    let resources = Resources {
        models,
        catalog: local.catalog.clone(),
        metrics,
        ops,
        limits: Limits {
            body_bytes: settings.limits.body_bytes as usize,
            batch_body_bytes: settings.limits.batch_body_bytes as usize,
            max_connections: settings.limits.connections as usize,
            ..Limits::default()
        },
    };
    resources.into()
}
