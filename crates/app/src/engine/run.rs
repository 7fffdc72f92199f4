//! The engine's loop: wait for something to do, take what is there, make one batch of it, again.

use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::id::Position;
use quillwork_domain::queue;
use quillwork_domain::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::clock;
use crate::engine::EngineConfig;
use crate::engine::archive::ArchiveRequest;
use crate::engine::cache::Cache;
use crate::engine::content::ContentRequest;
use crate::engine::contention::Contention;
use crate::engine::gate::Gate;
use crate::engine::glance::{Glance, Patience};
use crate::engine::handle::{ControlRequest, Mode, Request};
use crate::engine::hints::Hints;
use crate::engine::intake::Intake;
use crate::engine::queue::Queues;
use crate::engine::slots::Slots;
use crate::engine::work::Report;
use crate::feed::Feed;
use crate::ports::store::{Head, LeaseToken, LogWriter};
use crate::progress::ProgressBoard;

/// How long to wait before the store is tried again by itself after it failed. Clients try it sooner.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// Everything that the engine's thread owns.
pub(crate) struct EngineLoop {
    pub(crate) config: EngineConfig,
    pub(crate) worker: Arc<str>,
    pub(crate) writer: Box<dyn LogWriter>,
    pub(crate) head: Head,
    /// The [`Survey::queue`](crate::ports::store::Survey::queue) up to which `queues` is right.
    pub(crate) queue: Position,
    pub(crate) cache: Cache,
    pub(crate) queues: Queues,
    pub(crate) controls: queue::Queues,
    /// False if the controls must be looked at again.
    pub(crate) controls_exact: bool,
    pub(crate) gate: Gate,
    pub(crate) slots: Slots,
    pub(crate) glance: Glance,
    pub(crate) patience: Patience,
    /// Handlers that tasks wait for and no worker has; their jobs are given up.
    pub(crate) unserved: Vec<String>,
    /// Other processes may write.
    pub(crate) shared: bool,
    pub(crate) contention: Contention,
    /// The last commit failed, and may have been written all the same.
    pub(crate) in_doubt: bool,
    pub(crate) backlog: u64,
    /// How far the store's clock is ahead of the clock of this process, in milliseconds.
    pub(crate) skew: i64,
    pub(crate) lease: LeaseToken,
    pub(crate) renew_at: Instant,
    pub(crate) reap_at: Instant,
    /// When the store may be asked again what is due next.
    pub(crate) ask_due_at: Instant,
    pub(crate) hints: Hints,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) controlling: mpsc::Receiver<ControlRequest>,
    pub(crate) noting: mpsc::UnboundedReceiver<ContentRequest>,
    pub(crate) archiving: mpsc::Receiver<ArchiveRequest>,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
    pub(crate) mode: watch::Receiver<Mode>,
    pub(crate) running: watch::Sender<usize>,
    /// Why the store failed, until it has written again.
    pub(crate) trouble: watch::Sender<Option<String>>,
    pub(crate) feed: Feed,
    pub(crate) progress: ProgressBoard,
}

impl EngineLoop {
    /// Runs until told to stop.
    pub(crate) async fn run(mut self) {
        let mut intake = Intake::default();
        // The first round asks the store for what waits and what was orphaned.
        let mut again = true;
        let mut retry_at: Option<Instant> = None;
        loop {
            if !again {
                self.wait(&mut intake, retry_at).await;
            }
            self.drain(&mut intake);
            let mode = *self.mode.borrow_and_update();
            if mode >= Mode::Releasing {
                self.slots.cancel_all();
            }
            // Without a handle left there is nobody to work for.
            let ending = mode == Mode::Stopping || self.requests.is_closed();
            if ending {
                // Nothing of it was begun.
                intake.archive = None;
            }
            if ending && intake.is_done() {
                return self.end().await;
            }
            match self.turn(&mut intake, mode).await {
                Ok(starved) => {
                    if retry_at.take().is_some() {
                        tracing::info!("the store writes again");
                        self.trouble.send_replace(None);
                    }
                    if let Some(request) = intake.archive.take() {
                        self.archive(request).await;
                    }
                    again = starved;
                }
                Err(error) => {
                    if ending {
                        tracing::error!(%error, "stopped without committing the last reports; their stages run again");
                        return;
                    }
                    if retry_at.is_none() {
                        tracing::error!(%error, "the store failed; nothing of this batch was acknowledged");
                    }
                    self.trouble.send_replace(Some(error.to_string()));
                    // Nobody can renew a lease meanwhile: when the store is back, everyone has the time of one for it.
                    self.reap_at = Instant::now() + self.config.lease;
                    retry_at = Some(Instant::now() + STORE_RETRY);
                    again = false;
                }
            }
            self.running.send_if_modified(|n_running| {
                let n_now = self.slots.n_running();
                std::mem::replace(n_running, n_now) != n_now
            });
        }
    }

    /// Lets the others know that this process is gone.
    async fn end(&mut self) {
        if let Err(error) = self.writer.close_lease(self.lease).await {
            tracing::warn!(%error, "the lease of this process could not be given back; it runs out by itself");
        }
    }

    /// The time by the store's clock, which all processes share.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(clock::now().as_millis() + self.skew)
    }

    /// Waits for something to do.
    async fn wait(&mut self, intake: &mut Intake, retry_at: Option<Instant>) {
        let renew_at = self.must_renew().then_some(self.renew_at);
        let due_at = self.queues.next_due.map(|due| Instant::now() + due.since(self.now()));
        let ask_due_at = self.must_ask_due().then_some(self.ask_due_at);
        let times = [Some(self.reap_at), renew_at, due_at, ask_due_at, self.patience.until];
        let wake_at = times.into_iter().flatten().min();
        // A store that failed is not asked again before its time by anything but a request.
        let wake_at = retry_at.or(wake_at).unwrap_or(self.reap_at);
        tokio::select! {
            biased;
            // A dropped handle ends nothing: the mode says when to stop.
            _ = self.mode.changed() => {}
            Some(report) = self.reports.recv() => intake.reports.push(report),
            Some(request) = self.requests.recv() => intake.take(request),
            Some(request) = self.controlling.recv() => intake.controls.push(request),
            Some(request) = self.noting.recv() => intake.notes.push(request),
            Some(request) = self.archiving.recv(), if intake.archive.is_none() => intake.archive = Some(request),
            () = self.hints.given() => {}
            () = tokio::time::sleep_until(wake_at) => {}
        }
    }
}
