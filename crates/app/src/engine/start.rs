//! Starting the engine on a thread of its own, with a runtime of its own: a store may block it without harm.

use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::id::Position;
use quillwork_domain::queue;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::clock;
use crate::draft::DraftBoard;
use crate::engine::admission::Admission;
use crate::engine::archive::ArchiveRequest;
use crate::engine::cache::Cache;
use crate::engine::content::ContentRequest;
use crate::engine::contention::Contention;
use crate::engine::gate::Gate;
use crate::engine::glance::{Glance, Patience};
use crate::engine::handle::{ControlRequest, Mode, Request};
use crate::engine::hints::Hints;
use crate::engine::queue::Queues;
use crate::engine::run::EngineLoop;
use crate::engine::slots::Slots;
use crate::engine::work::Report;
use crate::engine::{Engine, WorkerPort};
use crate::feed::Feed;
use crate::ports::store::{LogReader, LogWriter, StoreError};
use crate::progress::ProgressBoard;

/// Commands to the queues that may wait to be committed.
const MAX_CONTROLS: usize = 64;

/// How much the engine takes on. See `docs/configuration.md` for what the numbers mean to an operator.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The name of this process in `StageStarted`, for people.
    pub worker: String,
    /// How long this process may be silent before its stages are given to others.
    pub lease: Duration,
    /// Commands that may wait to be committed; more are refused as busy.
    pub max_pending: u32,
    /// Jobs that may wait or run; submissions beyond are refused.
    pub max_backlog: u64,
    /// Commands that one commit holds at most.
    pub max_batch: usize,
    /// Memory for the states of open jobs, in bytes.
    pub cache_bytes: usize,
}

/// The engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot start the engine's thread")]
    Thread(#[source] std::io::Error),
    #[error(transparent)]
    Gone(#[from] EngineGone),
}

/// The engine ended without being told to.
#[derive(Debug, thiserror::Error)]
#[error("the engine ended unexpectedly; see the log for the panic before")]
pub struct EngineGone;

/// A running engine; keep it to wait for its end.
pub struct EngineThread {
    engine: Engine,
    ended: oneshot::Receiver<()>,
}

impl EngineThread {
    /// A handle to give commands.
    pub fn engine(&self) -> Engine {
        self.engine.clone()
    }

    /// Waits until the engine has ended.
    pub async fn join(self) -> Result<(), EngineGone> {
        self.ended.await.map_err(|_| EngineGone)
    }
}

/// Opens a lease, gives up what no worker can run, and starts to work.
///
/// Tasks whose process died are taken over by the engine's first batch.
pub async fn start(
    config: EngineConfig,
    writer: Box<dyn LogWriter>,
    reader: Arc<dyn LogReader>,
    workers: Vec<WorkerPort>,
) -> Result<EngineThread, StartError> {
    let (requests, request_queue) = mpsc::unbounded_channel();
    let (controlling, control_queue) = mpsc::channel(MAX_CONTROLS);
    let (noting, note_queue) = mpsc::unbounded_channel();
    let (archiving, archive_queue) = mpsc::channel(1);
    let (reports, report_queue) = mpsc::unbounded_channel();
    let (mode, mode_changes) = watch::channel(Mode::default());
    let (running, n_running) = watch::channel(0);
    let (trouble, troubles) = watch::channel(None);
    let feed = Feed::new(reader, Position::START);
    let progress = ProgressBoard::default();
    let hints = Hints::new(workers.iter().map(|worker| worker.handler.clone()).collect());
    let engine = Engine {
        requests,
        controlling,
        noting,
        archiving,
        reports,
        hints: hints.clone(),
        admission: Admission::new(config.max_pending),
        mode: Arc::new(mode),
        running: n_running,
        trouble: troubles,
        feed: feed.clone(),
        progress: progress.clone(),
        drafts: DraftBoard::default(),
    };
    let lines = Lines {
        hints,
        requests: request_queue,
        controlling: control_queue,
        noting: note_queue,
        archiving: archive_queue,
        reports: report_queue,
        mode: mode_changes,
        running,
        trouble,
        feed,
        progress,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let (opened, opening) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("engine".into())
        .spawn(move || {
            // A connection belongs to the runtime that opened it, so all of this happens in the engine's own.
            runtime.block_on(async move {
                match open(config, writer, Slots::new(workers), lines).await {
                    Ok(engine_loop) => {
                        // Nobody waiting is fine, here and below.
                        let _ = opened.send(Ok(()));
                        engine_loop.run().await;
                    }
                    Err(error) => {
                        let _ = opened.send(Err(error));
                    }
                }
            });
            let _ = end.send(());
        })
        .map_err(StartError::Thread)?;
    match opening.await {
        Ok(opened) => opened?,
        Err(_) => return Err(StartError::Gone(EngineGone)),
    }
    Ok(EngineThread { engine, ended })
}

/// The engine's ends of all channels.
struct Lines {
    hints: Hints,
    requests: mpsc::UnboundedReceiver<Request>,
    controlling: mpsc::Receiver<ControlRequest>,
    noting: mpsc::UnboundedReceiver<ContentRequest>,
    archiving: mpsc::Receiver<ArchiveRequest>,
    reports: mpsc::UnboundedReceiver<Report>,
    mode: watch::Receiver<Mode>,
    running: watch::Sender<usize>,
    trouble: watch::Sender<Option<String>>,
    feed: Feed,
    progress: ProgressBoard,
}

async fn open(
    config: EngineConfig,
    mut writer: Box<dyn LogWriter>,
    slots: Slots,
    lines: Lines,
) -> Result<EngineLoop, StoreError> {
    let lease = writer.open_lease(&config.worker, config.lease).await?;
    let survey = writer.survey().await?;
    let unserved = if writer.is_exclusive() { unserved(writer.as_mut(), &slots).await? } else { vec![] };
    let Lines {
        hints,
        requests,
        controlling,
        noting,
        archiving,
        reports,
        mode,
        running,
        trouble,
        feed,
        progress,
    } = lines;
    feed.advance(survey.head.position);
    let now = Instant::now();
    Ok(EngineLoop {
        worker: config.worker.as_str().into(),
        cache: Cache::new(config.cache_bytes),
        renew_at: now + config.lease / 3,
        reap_at: now,
        ask_due_at: now,
        config,
        writer,
        head: survey.head,
        queue: survey.queue,
        queues: Queues::new(slots.handlers()),
        controls: queue::Queues::default(),
        controls_exact: false,
        gate: Gate::default(),
        slots,
        glance: Glance::default(),
        patience: Patience::default(),
        unserved,
        shared: survey.shared,
        contention: Contention::default(),
        in_doubt: false,
        backlog: survey.backlog,
        skew: survey.now.as_millis() - clock::now().as_millis(),
        lease,
        hints,
        requests,
        controlling,
        noting,
        archiving,
        reports,
        mode,
        running,
        trouble,
        feed,
        progress,
    })
}

/// The handlers that tasks wait for and no worker of this process has. Nobody else could run them.
async fn unserved(writer: &mut dyn LogWriter, slots: &Slots) -> Result<Vec<String>, StoreError> {
    let mut unserved = writer.handlers().await?;
    unserved.retain(|handler| !slots.serves(handler));
    if !unserved.is_empty() {
        tracing::warn!(?unserved, "jobs wait for handlers that no worker has; they are given up");
    }
    Ok(unserved)
}
