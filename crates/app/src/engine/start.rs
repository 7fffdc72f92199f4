//! Starting the engine on a thread of its own, with a runtime of its own: a store may block it without harm.

use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::engine::admission::Admission;
use crate::engine::cache::Cache;
use crate::engine::handle::Mode;
use crate::engine::queue::Queues;
use crate::engine::run::EngineLoop;
use crate::engine::slots::Slots;
use crate::engine::{Engine, WorkerPort};
use crate::feed::Feed;
use crate::ports::store::{LogReader, LogWriter, StoreError};
use crate::progress::ProgressBoard;

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
    mut writer: Box<dyn LogWriter>,
    reader: Arc<dyn LogReader>,
    workers: Vec<WorkerPort>,
) -> Result<EngineThread, StartError> {
    let head = writer.head().await?;
    let now = clock::now();
    let lease = writer.open_lease(&config.worker, now.plus(config.lease)).await?;
    let renew_at = now.plus(config.lease / 3);
    let backlog = writer.backlog().await?;
    let slots = Slots::new(workers);
    let mut unserved = writer.handlers().await?;
    unserved.retain(|handler| !slots.serves(handler));
    if !unserved.is_empty() {
        tracing::warn!(?unserved, "jobs wait for handlers that no worker has; they are given up");
    }

    let (requests, request_queue) = mpsc::unbounded_channel();
    let (reports, report_queue) = mpsc::unbounded_channel();
    let (mode, mode_changes) = watch::channel(Mode::default());
    let (running, n_running) = watch::channel(0);
    let (trouble, troubles) = watch::channel(None);
    let feed = Feed::new(reader, head.position);
    let progress = ProgressBoard::default();
    let mut queues = Queues::new(slots.handlers());
    // Due at once: the first round asks the store for the next due time.
    queues.next_due = Some(Timestamp::default());
    let engine = Engine {
        requests,
        reports,
        admission: Admission::new(config.max_pending),
        mode: Arc::new(mode),
        running: n_running,
        trouble: troubles,
        feed: feed.clone(),
        progress: progress.clone(),
    };
    let engine_loop = EngineLoop {
        worker: config.worker.as_str().into(),
        cache: Cache::new(config.cache_bytes),
        config,
        writer,
        head,
        queues,
        slots,
        unserved,
        in_doubt: false,
        backlog,
        lease,
        renew_at,
        reap_at: Timestamp::default(),
        requests: request_queue,
        reports: report_queue,
        mode: mode_changes,
        running,
        trouble,
        feed,
        progress,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("engine".into())
        .spawn(move || {
            runtime.block_on(engine_loop.run());
            // Nobody waiting is fine.
            let _ = end.send(());
        })
        .map_err(StartError::Thread)?;
    Ok(EngineThread { engine, ended })
}
