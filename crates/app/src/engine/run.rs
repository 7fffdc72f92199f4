//! The engine's loop: take what is there, plan, commit, hand out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::id::JobId;
use quillwork_domain::job::{Command, ErrorClass};
use quillwork_domain::plan::Jitter;
use quillwork_domain::time::Timestamp;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::clock;
use crate::engine::cache::{Cache, KnownJob};
use crate::engine::handle::{Mode, Request};
use crate::engine::plan_batch::{Authority, BatchPlan, Circumstances, Planned};
use crate::engine::queue::Queues;
use crate::engine::slots::{RunKey, Slots};
use crate::engine::work::Report;
use crate::engine::{Accepted, EngineConfig, Outcome, Refusal};
use crate::feed::Feed;
use crate::ports::store::{
    CommitError, Head, Holder, IdempotencyKey, KeyOwner, LeaseToken, LogWriter, StoreError, TaskKey,
};
use crate::progress::ProgressBoard;

/// How long to wait before the store is tried again by itself after it failed. Clients try it sooner.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// Orphans that one batch takes care of.
const MAX_ORPHANS: usize = 1_024;

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
    pub(crate) feed: Feed,
    pub(crate) progress: ProgressBoard,
}

/// What one batch is made of.
#[derive(Default)]
struct Intake {
    requests: Vec<Request>,
    n_items: usize,
    /// Kept until they are committed: the work is done and must not be lost to a full disk.
    reports: Vec<Report>,
    orphans: Vec<(TaskKey, LeaseToken)>,
    /// Jobs whose handler no worker has.
    unserved: Vec<JobId>,
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
            if mode == Mode::Stopping && nothing_left {
                return;
            }
            match self.turn(&mut intake, mode).await {
                Ok(starved) => {
                    retry_at = None;
                    again = starved;
                }
                Err(error) => {
                    if mode == Mode::Stopping {
                        tracing::error!(%error, "stopped without committing the last reports; their stages run again");
                        return;
                    }
                    if retry_at.is_none() {
                        tracing::error!(%error, "the store failed; nothing of this batch was acknowledged");
                    }
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

    /// Renews the lease, looks for orphans, and refills windows when tasks have become due.
    async fn keep_house(&mut self, intake: &mut Intake) -> Result<(), StoreError> {
        let now = clock::now();
        if self.in_doubt {
            self.resolve_doubt(intake).await?;
        }
        // Also before the first stage after a quiet time.
        if self.renew_at <= now && (self.slots.n_running() > 0 || !intake.requests.is_empty()) {
            let until = now.plus(self.config.lease);
            if !self.writer.renew_lease(self.lease, until).await? {
                // Nothing of note after a quiet time, for which nothing was renewed.
                if self.slots.n_running() > 0 {
                    tracing::warn!(
                        "this process was taken for dead; its running stages belong to others now"
                    );
                    self.slots.cancel_all();
                }
                self.lease = self.writer.open_lease(&self.worker, until).await?;
            }
            self.renew_at = now.plus(self.config.lease / 3);
        }
        for handler in std::mem::take(&mut self.unserved) {
            let tasks = self.writer.ready(&handler, Timestamp::MAX, usize::MAX).await?;
            intake.unserved.extend(tasks.into_iter().map(|task| task.key.job));
        }
        if intake.orphans.is_empty() && self.reap_at <= now {
            intake.orphans = self.writer.orphans(self.lease, now, MAX_ORPHANS).await?;
            let more = intake.orphans.len() == MAX_ORPHANS;
            self.reap_at = if more { now } else { now.plus(self.config.lease / 2) };
            if !intake.orphans.is_empty() {
                tracing::warn!(n = intake.orphans.len(), "taking over the stages of a lost worker");
            }
        }
        if self.queues.next_due.is_some_and(|due| due <= now) {
            self.queues.reset();
            self.queues.next_due = self.writer.next_due(now).await?;
        }
        Ok(())
    }

    /// Finds out whether the failed commit was written. If so, stages that it started were handed to nobody, and
    /// stages that it ended were not told.
    async fn resolve_doubt(&mut self, intake: &mut Intake) -> Result<(), StoreError> {
        let head = self.writer.head().await?;
        if head != self.head {
            tracing::warn!(position = %head.position, "a commit that had failed was written all the same");
            self.head = head;
            self.feed.skip_to(head.position);
            self.backlog = self.writer.backlog().await?;
            let held = self.writer.held(self.lease).await?;
            self.slots.cancel_all_but(&held);
            let unowned = held.into_iter().filter(|task| !self.slots.runs(*task));
            intake.orphans.extend(unowned.map(|task| (task, self.lease)));
        }
        self.in_doubt = false;
        Ok(())
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
            abandon(&mut plan, *job);
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

    async fn owners(&mut self, intake: &Intake) -> Result<BTreeMap<IdempotencyKey, KeyOwner>, StoreError> {
        let items = intake.requests.iter().flat_map(|request| &request.items);
        let keys: Vec<IdempotencyKey> = items.filter_map(|item| item.key.clone()).collect();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let owners = self.writer.owners(&keys).await?;
        Ok(keys.into_iter().zip(owners).filter_map(|(key, owner)| Some((key, owner?))).collect())
    }

    /// Brings every job that the batch names into the cache.
    async fn load(
        &mut self,
        intake: &Intake,
        owners: &BTreeMap<IdempotencyKey, KeyOwner>,
        free: &BTreeMap<Arc<str>, usize>,
    ) -> Result<(), StoreError> {
        let mut needed: BTreeSet<JobId> = owners.values().map(|owner| owner.job).collect();
        needed.extend(intake.orphans.iter().map(|(key, _)| key.job));
        needed.extend(&intake.unserved);
        needed.extend(intake.reports.iter().map(|report| match report {
            Report::Finished { job, .. } | Report::Step { job, .. } => *job,
        }));
        let items = intake.requests.iter().flat_map(|request| &request.items);
        // The id of a new job was minted for it: there is nothing to load.
        needed.extend(items.filter(|item| !matches!(item.command, Command::Submit(_))).map(|item| item.job));
        for (handler, n_free) in free {
            needed.extend(self.queues.peek(handler, *n_free).map(|task| task.key.job));
        }
        let missing: Vec<JobId> = needed.into_iter().filter(|job| !self.cache.contains(*job)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let streams = self.writer.load(&missing).await?;
        for (job, stream) in missing.into_iter().zip(streams) {
            if !stream.is_empty() {
                self.cache.put(job, KnownJob::fold(&stream));
            }
        }
        Ok(())
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

    /// Memory may be ahead of the log: drop it.
    fn forget(&mut self) {
        self.cache.clear();
        self.queues.reset();
        // Whatever was due may have been popped from a window; the store knows.
        self.queues.next_due = Some(Timestamp::default());
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

/// Fails the stage of a lost worker; the plan decides whether it runs again.
fn give_up(plan: &mut BatchPlan<'_>, key: TaskKey, lease: LeaseToken, now: Timestamp) {
    let meta = plan.on_behalf(key.job, "reaper");
    let command = Command::FailStage {
        stage: key.stage,
        attempt: plan.attempt(key.job),
        class: ErrorClass::Lost,
        message: "the worker was lost while it ran this stage".into(),
        retry_after: None,
        jitter: jitter(),
        at: now,
    };
    let authority = Authority { meta, held_by: Holder::Lease(lease) };
    if let Err(refusal) = plan.apply(key.job, command, &authority) {
        tracing::error!(job = %key.job, %refusal, "an orphaned task belongs to no running stage; rebuild the queue");
    }
}

/// Fails a job that no worker can run.
fn abandon(plan: &mut BatchPlan<'_>, job: JobId) {
    let authority = Authority { meta: plan.on_behalf(job, "engine"), held_by: Holder::Anyone };
    let message =
        "no worker has the handler of this stage; start one that has it, then retry the job".to_owned();
    if let Err(refusal) =
        plan.apply(job, Command::Abandon { class: ErrorClass::UnknownHandler, message }, &authority)
    {
        tracing::error!(%job, %refusal, "a task belongs to no job; rebuild the queue");
    }
}

/// Decides what a worker reported. True if the attempt still counted.
fn decide_report(plan: &mut BatchPlan<'_>, report: &Report, mine: Holder, now: Timestamp) -> bool {
    let (job, command, blob) = match report {
        Report::Step { job, stage, attempt, key, output, blob, .. } => {
            let command = Command::RecordStep {
                stage: *stage,
                attempt: *attempt,
                key: key.clone(),
                output: output.clone(),
            };
            (*job, command, blob.as_ref())
        }
        Report::Finished { job, stage, attempt, outcome: Outcome::Completed(output) } => {
            let command = Command::CompleteStage {
                stage: *stage,
                attempt: *attempt,
                output: output.payload.clone(),
                usage: output.usage.clone(),
            };
            (*job, command, output.blob.as_ref())
        }
        Report::Finished {
            job,
            stage,
            attempt,
            outcome: Outcome::Failed { class, message, retry_after },
        } => {
            let command = Command::FailStage {
                stage: *stage,
                attempt: *attempt,
                class: *class,
                message: message.clone(),
                retry_after: *retry_after,
                jitter: jitter(),
                at: now,
            };
            (*job, command, None)
        }
    };
    let counts = plan.holds(job, &command);
    let authority = Authority { meta: plan.on_behalf(job, "worker"), held_by: mine };
    match plan.apply(job, command, &authority) {
        Ok(_) if counts => {
            plan.keep(blob);
            true
        }
        Ok(_) => {
            tracing::info!(%job, "the late word of a lost attempt was refused");
            false
        }
        Err(refusal) => {
            tracing::warn!(%job, %refusal, "a worker's report was refused");
            false
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

/// Randomness enters here, as data.
fn jitter() -> Jitter {
    // The last bytes of a version 7 UUID are random.
    let id = Uuid::now_v7();
    Jitter(u16::from_le_bytes([id.as_bytes()[14], id.as_bytes()[15]]))
}
