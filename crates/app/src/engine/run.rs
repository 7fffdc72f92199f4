//! The engine's loop: take what is there, plan, commit, hand out.

use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::id::JobId;
use quillwork_domain::time::Timestamp;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::clock;
use crate::engine::cache::Cache;
use crate::engine::handle::{Mode, Request};
use crate::engine::plan_batch::{Authority, BatchPlan, Circumstances, Planned};
use crate::engine::queue::Queues;
use crate::engine::reports::{decide_report, give_up};
use crate::engine::slots::{RunKey, Slots};
use crate::engine::work::Report;
use crate::engine::{Accepted, EngineConfig, Refusal};
use crate::feed::Feed;
use crate::ports::store::{CommitError, Head, Holder, LeaseToken, LogWriter, StoreError, TaskKey};
use crate::progress::ProgressBoard;

/// How long to wait before the store is tried again by itself after it failed. Clients try it sooner.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// How often one batch is planned anew because the log moved under it.
const MAX_REPLANS: usize = 8;

/// Everything that the engine's thread owns.
pub(crate) struct EngineLoop {
    pub(crate) config: EngineConfig,
    pub(crate) worker: Arc<str>,
    pub(crate) writer: Box<dyn LogWriter>,
    pub(crate) head: Head,
    pub(crate) cache: Cache,
    pub(crate) queues: Queues,
    pub(crate) slots: Slots,
    /// Handlers that tasks wait for and no worker has; their jobs are given up.
    pub(crate) unserved: Vec<String>,
    /// The last commit failed, and may have been written all the same.
    pub(crate) in_doubt: bool,
    pub(crate) backlog: u64,
    pub(crate) lease: LeaseToken,
    pub(crate) renew_at: Timestamp,
    pub(crate) reap_at: Timestamp,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
    pub(crate) mode: watch::Receiver<Mode>,
    pub(crate) running: watch::Sender<usize>,
    /// Why the store failed, until it has written again.
    pub(crate) trouble: watch::Sender<Option<String>>,
    pub(crate) feed: Feed,
    pub(crate) progress: ProgressBoard,
}

/// What one batch is made of.
#[derive(Default)]
pub(super) struct Intake {
    pub(super) requests: Vec<Request>,
    n_items: usize,
    /// Kept until they are committed: the work is done and must not be lost to a full disk.
    pub(super) reports: Vec<Report>,
    pub(super) orphans: Vec<(TaskKey, LeaseToken)>,
    /// Jobs whose handler no worker has.
    pub(super) unserved: Vec<JobId>,
}

/// A plan and the answers that go with it.
struct Ready {
    planned: Planned,
    verdicts: Vec<Vec<Result<Accepted, Refusal>>>,
    steps: Vec<bool>,
    starved: bool,
}

impl EngineLoop {
    /// Runs until told to stop.
    pub(crate) async fn run(mut self) {
        let mut intake = Intake::default();
        // The first round asks the store for what waits and what was orphaned.
        let mut again = true;
        let mut retry_at: Option<Timestamp> = None;
        loop {
            if !again {
                self.wait(&mut intake, retry_at).await;
            }
            self.drain(&mut intake);
            let mode = *self.mode.borrow_and_update();
            if mode >= Mode::Releasing {
                self.slots.cancel_all();
            }
            let nothing_left = intake.requests.is_empty() && intake.reports.is_empty();
            // Without a handle left there is nobody to work for.
            let ending = mode == Mode::Stopping || self.requests.is_closed();
            if ending && nothing_left {
                return;
            }
            match self.turn(&mut intake, mode).await {
                Ok(starved) => {
                    if retry_at.take().is_some() {
                        tracing::info!("the store writes again");
                        self.trouble.send_replace(None);
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
                    retry_at = Some(clock::now().plus(STORE_RETRY));
                    again = false;
                }
            }
            self.running.send_if_modified(|n_running| {
                let n_now = self.slots.n_running();
                std::mem::replace(n_running, n_now) != n_now
            });
        }
    }

    /// Waits for something to do.
    async fn wait(&mut self, intake: &mut Intake, retry_at: Option<Timestamp>) {
        let renew_at = (self.slots.n_running() > 0).then_some(self.renew_at);
        let timers = [Some(self.reap_at), renew_at, self.queues.next_due, retry_at];
        let wake_at = timers.into_iter().flatten().min().unwrap_or(self.reap_at);
        let pause = wake_at.since(clock::now());
        tokio::select! {
            biased;
            // A dropped handle ends nothing: the mode says when to stop.
            _ = self.mode.changed() => {}
            Some(report) = self.reports.recv() => intake.reports.push(report),
            Some(request) = self.requests.recv() => {
                intake.n_items += request.items.len();
                intake.requests.push(request);
            }
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Takes what has come in the meantime, up to a batch.
    fn drain(&mut self, intake: &mut Intake) {
        while intake.reports.len() < self.config.max_batch
            && let Ok(report) = self.reports.try_recv()
        {
            intake.reports.push(report);
        }
        while intake.n_items < self.config.max_batch
            && let Ok(request) = self.requests.try_recv()
        {
            intake.n_items += request.items.len();
            intake.requests.push(request);
        }
    }

    /// One batch, from intake to hand-out. True if there is more to do at once.
    async fn turn(&mut self, intake: &mut Intake, mode: Mode) -> Result<bool, StoreError> {
        if let Err(error) = self.keep_house(intake).await {
            refuse_all(intake, &error);
            return Err(error);
        }
        for _ in 0..MAX_REPLANS {
            let ready = match self.plan(intake, mode).await {
                Ok(ready) => ready,
                Err(error) => {
                    self.forget();
                    refuse_all(intake, &error);
                    return Err(error);
                }
            };
            let committed = if ready.planned.batch.entries.is_empty() {
                Ok(())
            } else {
                self.writer.commit(self.head, &ready.planned.batch).await
            };
            match committed {
                Ok(()) => return Ok(self.hand_out(intake, ready)),
                Err(CommitError::Store(error)) => {
                    self.in_doubt = true;
                    self.forget();
                    refuse_all(intake, &error);
                    return Err(error);
                }
                Err(CommitError::HeadMoved) => {
                    self.forget();
                    match self.writer.head().await {
                        Ok(head) => {
                            self.head = head;
                            self.feed.skip_to(head.position);
                        }
                        Err(error) => {
                            refuse_all(intake, &error);
                            return Err(error);
                        }
                    }
                }
                Err(CommitError::Fenced(key)) => {
                    tracing::warn!(job = %key.job, "a task was not held as expected; what was said of it is void");
                    self.forget();
                    self.void(intake, key);
                }
            }
        }
        let error = StoreError::Unavailable("other writers were faster every time".into());
        refuse_all(intake, &error);
        Err(error)
    }

    /// Loads what the batch needs and plans it.
    async fn plan(&mut self, intake: &Intake, mode: Mode) -> Result<Ready, StoreError> {
        let now = clock::now();
        let mut free = self.slots.free();
        for report in &intake.reports {
            if let Report::Finished { job, stage, attempt, .. } = report {
                let key = RunKey { job: *job, stage: *stage, attempt: *attempt };
                if let Some(n_free) = self.slots.handler(key).and_then(|handler| free.get_mut(handler)) {
                    *n_free += 1;
                }
            }
        }
        if mode >= Mode::Draining {
            free.clear();
        }
        for (handler, n_free) in &free {
            if *n_free > 0 && self.queues.wants_refill(handler) {
                let tasks = self.writer.ready(handler, now, self.queues.capacity(handler)).await?;
                self.queues.refill(handler, tasks);
            }
        }
        let owners = self.owners(intake).await?;
        self.load(intake, &owners, &free).await?;

        let mut new_event_id = Uuid::now_v7;
        let circumstances = Circumstances {
            now,
            head: self.head,
            worker: &self.worker,
            lease: self.lease,
            backlog: self.backlog,
            max_backlog: self.config.max_backlog,
            owners,
            new_event_id: &mut new_event_id,
        };
        let mine = Holder::Lease(self.lease);
        let mut plan = BatchPlan::new(circumstances, &mut self.cache);
        for (key, lease) in &intake.orphans {
            give_up(&mut plan, *key, *lease, now);
        }
        for job in &intake.unserved {
            plan.abandon(*job);
        }
        let steps = intake.reports.iter().map(|report| decide_report(&mut plan, report, mine, now)).collect();
        let mut verdicts = Vec::with_capacity(intake.requests.len());
        for request in &intake.requests {
            let authority = Authority { meta: request.caller.meta(), held_by: Holder::Anyone };
            let decide = |item: &crate::engine::handle::Item| {
                plan.request(item.job, &item.command, item.key.as_ref(), &authority)
            };
            verdicts.push(request.items.iter().map(decide).collect());
        }
        let starved = plan.fill(&mut self.queues, &mut free);
        Ok(Ready { planned: plan.finish(), verdicts, steps, starved })
    }

    /// The batch is durable: tell everyone.
    fn hand_out(&mut self, intake: &mut Intake, ready: Ready) -> bool {
        let Ready { planned, verdicts, steps, starved } = ready;
        let Planned { batch, head, growth, started, cancelled } = planned;
        self.head = head;
        self.backlog = self.backlog.saturating_add_signed(growth);
        for entry in &batch.entries {
            if self.cache.get(entry.recorded.job).is_some_and(|known| known.job.is_terminal()) {
                self.cache.take(entry.recorded.job);
            }
        }
        self.cache.trim();
        for (report, durable) in intake.reports.drain(..).zip(steps) {
            match report {
                Report::Finished { job, stage, attempt, .. } => {
                    self.slots.finish(RunKey { job, stage, attempt });
                    self.progress.clear(job);
                }
                Report::Step { reply, .. } => {
                    // A stage that was dropped in the meantime does not care.
                    let _ = reply.send(durable);
                }
            }
        }
        intake.orphans.clear();
        intake.unserved.clear();
        cancelled.into_iter().for_each(|key| self.slots.cancel(key));
        for (handler, run) in started {
            self.slots.start(&handler, run);
        }
        self.feed.publish(batch.entries);
        for (request, verdicts) in intake.requests.drain(..).zip(verdicts) {
            // A client that hung up does not care.
            let _ = request.reply.send(verdicts);
        }
        intake.n_items = 0;
        starved
    }

    /// Drops what was said about a task that its speaker no longer holds.
    fn void(&mut self, intake: &mut Intake, key: TaskKey) {
        intake.orphans.retain(|(orphan, _)| *orphan != key);
        for report in std::mem::take(&mut intake.reports) {
            match report {
                Report::Finished { job, stage, attempt, .. } if job == key.job => {
                    self.slots.finish(RunKey { job, stage, attempt });
                }
                Report::Step { job, reply, .. } if job == key.job => {
                    let _ = reply.send(false);
                }
                report @ (Report::Finished { .. } | Report::Step { .. }) => intake.reports.push(report),
            }
        }
    }
}

/// Tells the clients that nothing was written; reports stay for the next try.
fn refuse_all(intake: &mut Intake, error: &StoreError) {
    let refusal = Refusal::Unavailable { message: error.to_string(), retry_after: Duration::from_secs(1) };
    for request in intake.requests.drain(..) {
        let verdicts = request.items.iter().map(|_| Err(refusal.clone())).collect();
        let _ = request.reply.send(verdicts);
    }
    intake.n_items = 0;
    intake.orphans.clear();
}
