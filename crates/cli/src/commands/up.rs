//! `up`: API, workers and projections in one process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use quillwork_api::{ApiState, HttpMetrics, Limits, router, serve};
use quillwork_projections::{Projector, ReadModels};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::Globals;
use crate::config::Settings;
use crate::exit::INTERRUPTED;
use crate::local::{Local, read_models};
use crate::logging;
use crate::open_files;
use crate::signals::Signals;

/// How long the last answers may take once nothing runs any more.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder that research searches; the documentation that comes with the binary if absent.
    #[arg(long, value_name = "DIR")]
    corpus: Option<String>,
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let corpus = args.corpus.map(|folder| ("--corpus", "corpus", folder));
    let config = globals.load_with(corpus.into_iter().collect())?;
    let settings = &config.settings;
    logging::start(settings)?;
    open_files::allow(u64::from(settings.limits.connections));
    let mut signals = Signals::new()?;
    let listener = listen(settings).await?;

    let mut local = Local::start(&config).await?;
    let models = ReadModels::open(&read_models(&settings.data_dir), local.reader.as_ref()).await?;
    let stop_projector = CancellationToken::new();
    let mut projector = JoinSet::new();
    projector.spawn(Projector::run(models.clone(), local.engine.feed().clone(), stop_projector.clone()));

    let state = api_state(settings, &local, models);
    let (draining, stop_api) = (state.draining.clone(), state.shutdown.clone());
    let address = listener.local_addr().context("the listening socket has no address")?;
    let mut api = JoinSet::new();
    api.spawn(serve(listener, router(state), settings.limits.connections as usize, stop_api.clone()));

    tracing::info!(%address, "listening on http://{address}");

    tokio::select! {
        () = signals.next() => tracing::info!("ending: running stages may finish; a second signal ends at once"),
        error = local.failed() => return Err(error),
        _ = api.join_next() => anyhow::bail!("the API ended without being told to"),
    }
    let end = async {
        // Health, metrics and queries answer as long as stages may run; what is submitted now runs at the next start.
        draining.cancel();
        let ended = local.end(settings.shutdown_grace.0).await;
        stop_api.cancel();
        // A client that does not read its answer must not hold up the end.
        if tokio::time::timeout(LAST_ANSWERS, api.join_next()).await.is_err() {
            tracing::warn!("some clients did not take their answers; their connections are cut");
        }
        stop_projector.cancel();
        while projector.join_next().await.is_some() {}
        ended
    };
    tokio::select! {
        ended = end => ended.map(|_dir| 0),
        () = signals.next() => Ok(INTERRUPTED),
    }
}

async fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    let address = settings.listen;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; another process may do so: choose another address with --listen")
    })?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the API has no authentication and is open to everyone who can reach this address");
    }
    Ok(listener)
}

fn api_state(settings: &Settings, local: &Local, models: ReadModels) -> ApiState {
    let mut registry = Registry::default();
    let metrics = HttpMetrics::register(&mut registry);
    ApiState {
        engine: local.engine.clone(),
        models,
        reader: local.reader.clone(),
        catalog: local.catalog.clone(),
        metrics,
        registry: Arc::new(registry),
        limits: Limits {
            body_bytes: settings.limits.body_bytes as usize,
            batch_body_bytes: settings.limits.batch_body_bytes as usize,
            max_connections: settings.limits.connections as usize,
            ..Limits::default()
        },
        draining: CancellationToken::new(),
        shutdown: CancellationToken::new(),
    }
}
