//! One batch, from what came in to what is handed out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::id::{JobId, StreamId};
use quillwork_domain::plan::StageIndex;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::engine::glance::Glance;
use crate::engine::handle::{Controlled, Mode};
use crate::engine::intake::Intake;
use crate::engine::plan_batch::{Authority, BatchPlan, Circumstances, Planned};
use crate::engine::reports::{decide_report, give_up};
use crate::engine::run::EngineLoop;
use crate::engine::slots::RunKey;
use crate::engine::work::Report;
use crate::engine::{Accepted, Funds, Noted, RecordedStep, Refusal};
use crate::ports::store::{CommitError, Holder, StoreError, Survey, Task, TaskKey};

/// How often one batch is planned anew because the log moved under it.
const MAX_REPLANS: usize = 8;

/// A plan and the answers that go with it.
struct Ready {
    planned: Planned,
    verdicts: Vec<Vec<Result<Accepted, Refusal>>>,
    controlled: Vec<Result<Controlled, Refusal>>,
    noted: Vec<Result<Noted, Refusal>>,
    /// For each report: the funds of its job, if it still counted.
    steps: Vec<Option<Funds>>,
    starved: bool,
}

impl EngineLoop {
    /// One batch, from intake to hand-out. True if there is more to do at once.
    pub(super) async fn turn(&mut self, intake: &mut Intake, mode: Mode) -> Result<bool, StoreError> {
        let done = self.try_turn(intake, mode).await;
        if let Err(error) = &done {
            // Whatever the store has of it, others must not wait for this process.
            let _ = self.writer.unlock().await;
            self.forget();
            refuse_all(intake, error);
        }
        done
    }

    async fn try_turn(&mut self, intake: &mut Intake, mode: Mode) -> Result<bool, StoreError> {
        self.keep_house(intake).await?;
        let mut must_lock = false;
        for n_plans in 1..=MAX_REPLANS {
            if intake.is_empty() && !self.finds_work(mode).await? {
                return Ok(false);
            }
            let only_looks = intake.is_empty();
            let locks = must_lock || self.must_lock();
            if locks {
                let survey = self.writer.lock().await?;
                self.adopt(survey);
                // The wait for the lock may have formed a bigger batch.
                self.drain(intake);
            }
            let ready = self.plan(intake, mode).await?;
            if ready.planned.batch.entries.is_empty() {
                if self.shared && !locks && !intake.is_done() {
                    // No commit will show whether these answers are of the present.
                    must_lock = true;
                    continue;
                }
                self.writer.unlock().await?;
                if only_looks {
                    self.patience.came_in_vain();
                }
                return Ok(self.hand_out(intake, ready));
            }
            match self.writer.commit(self.head, &ready.planned.batch).await {
                Ok(()) => {
                    self.contention.committed();
                    if only_looks && !ready.planned.started.is_empty() {
                        self.patience.found();
                    }
                    return Ok(self.hand_out(intake, ready));
                }
                Err(CommitError::Store(error)) => {
                    self.in_doubt = true;
                    return Err(error);
                }
                Err(CommitError::HeadMoved) => {
                    self.forget();
                    let survey = self.writer.survey().await?;
                    self.adopt(survey);
                    // Somebody wrote, whatever the store says of living processes.
                    self.shared = !self.writer.is_exclusive();
                    must_lock = self.shared;
                }
                Err(CommitError::Fenced(keys)) => {
                    tracing::warn!(
                        n = keys.len(),
                        "tasks were not held as expected; what was said of them is void"
                    );
                    self.forget();
                    self.void(intake, &keys, n_plans == MAX_REPLANS);
                }
            }
        }
        Err(StoreError::Unavailable("other writers were faster every time".into()))
    }

    /// True if others must be kept out while the batch is planned.
    fn must_lock(&self) -> bool {
        // What others let this process know comes sooner than what it would find out.
        let is_behind = self.feed.head() > self.head.position;
        self.shared && (is_behind || self.contention.is_likely())
    }

    /// Takes over what the store says of itself.
    pub(super) fn adopt(&mut self, survey: Survey) {
        if survey.head != self.head {
            self.head = survey.head;
            self.contention.disturbed();
            self.cache.outdate();
            self.feed.advance(survey.head.position);
        }
        self.backlog = survey.backlog;
        self.shared = survey.shared;
        self.skew = survey.now.as_millis() - crate::clock::now().as_millis();
        if survey.queue != self.queue {
            self.queue = survey.queue;
            self.queues.reset(survey.now);
        }
        self.controls_exact &= survey.controls == self.controls.version;
    }

    /// Loads what the batch needs and plans it.
    async fn plan(&mut self, intake: &Intake, mode: Mode) -> Result<Ready, StoreError> {
        let now = self.now();
        let mut free = self.slots.free();
        let ending = self.slots.count(intake.reports.iter().filter_map(Report::ended));
        for (handler, n_ending) in &ending {
            if let Some(n_free) = free.get_mut(handler) {
                *n_free += n_ending;
            }
        }
        if mode >= Mode::Draining {
            free.clear();
        }
        let following = self.following(intake);
        let supply = self.supply(free, ending, following, now).await?;
        let owners = self.owners(intake).await?;
        self.load(intake, &owners, &supply).await?;
        self.load_versions(intake).await?;

        let mut new_event_id = Uuid::now_v7;
        let circumstances = Circumstances {
            now,
            head: self.head,
            worker: &self.worker,
            lease: self.lease,
            exclusive: self.writer.is_exclusive(),
            backlog: self.backlog,
            max_backlog: self.config.max_backlog,
            owners,
            new_event_id: &mut new_event_id,
        };
        let mine = Holder::Lease(self.lease);
        let mut plan = BatchPlan::new(circumstances, &mut self.cache, self.controls.clone());
        for (key, lease) in &intake.orphans {
            give_up(&mut plan, *key, *lease, now);
        }
        for key in &intake.unserved {
            plan.abandon(*key);
        }
        let decide = |report: &Report| {
            let counts = decide_report(&mut plan, report, mine, now);
            counts.then(|| plan.funds(report.job()))
        };
        let steps = intake.reports.iter().map(decide).collect();
        let mut verdicts = Vec::with_capacity(intake.requests.len());
        for request in &intake.requests {
            let authority = Authority { meta: request.caller.meta(), held_by: Holder::Anyone };
            let decide = |item: &crate::engine::handle::Item| {
                plan.request(item.job, &item.command, item.key.as_ref(), &authority)
            };
            verdicts.push(request.items.iter().map(decide).collect());
        }
        let controlled = intake
            .controls
            .iter()
            .map(|request| plan.control(&request.command, &request.caller.meta()))
            .collect();
        let noted = intake
            .notes
            .iter()
            .map(|request| plan.note(request.article, &request.command, &request.caller.meta()))
            .collect();
        let starved = plan.fill(&mut self.queues, supply);
        Ok(Ready { planned: plan.finish(), verdicts, controlled, noted, steps, starved })
    }

    /// The stages that will wait when what was reported is recorded, by handler.
    fn following(&self, intake: &Intake) -> BTreeMap<Arc<str>, Vec<Task>> {
        let mut following: BTreeMap<Arc<str>, Vec<Task>> = BTreeMap::new();
        let completed = intake.reports.iter().filter_map(Report::completed);
        for key in completed.filter(|key| self.slots.holds(*key)) {
            let Some(known) = self.cache.peek(key.job) else { continue };
            for task in known.next_tasks(key.job, key.stage) {
                following.entry(task.handler.clone()).or_default().push(task);
            }
        }
        following
    }

    /// The batch is durable: tell everyone.
    fn hand_out(&mut self, intake: &mut Intake, ready: Ready) -> bool {
        let Ready { planned, verdicts, controlled, noted, steps, starved } = ready;
        let Planned { batch, head, growth, started, cancelled, controls } = planned;
        if batch.adds_to_queue() {
            // By this batch itself, so that what is known of the queue stays right.
            self.queue = head.position;
        }
        self.head = head;
        self.glance = Glance::default();
        self.controls = controls;
        self.backlog = self.backlog.saturating_add_signed(growth);
        let ended = batch.entries.iter().filter(|entry| entry.event.ends_job());
        for job in ended.filter_map(|entry| entry.recorded.stream.job()) {
            if self.cache.peek(job).is_some_and(|known| known.job.is_terminal()) {
                self.cache.take(job);
            }
        }
        self.cache.trim();
        self.gate.passed(intake.n_items, self.config.max_batch);
        for (report, funds) in intake.reports.drain(..).zip(steps) {
            match report {
                Report::Finished { job, stage, attempt, .. } => {
                    self.slots.finish(RunKey { job, stage, attempt });
                    self.progress.clear(job, stage);
                }
                Report::Step { reply, .. } => {
                    answer(reply, funds.map(|funds| RecordedStep { position: head.position, funds }));
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
            answer(request.reply, verdicts);
        }
        for (request, controlled) in intake.controls.drain(..).zip(controlled) {
            answer(request.reply, controlled);
        }
        for (request, noted) in intake.notes.drain(..).zip(noted) {
            answer(request.reply, noted);
        }
        intake.n_items = 0;
        starved
    }

    /// Drops what was said about tasks that its speaker no longer holds; in the end, `by_job`, also what was said about
    /// other tasks of their jobs, so that a damaged queue cannot stop the engine.
    fn void(&mut self, intake: &mut Intake, keys: &[TaskKey], by_job: bool) {
        intake.orphans.retain(|(orphan, _)| !keys.contains(orphan));
        for report in std::mem::take(&mut intake.reports) {
            let of = |job: JobId, stage: StageIndex| {
                keys.iter().any(|key| key.job == job && (by_job || key.stage == stage))
            };
            match report {
                Report::Finished { job, stage, attempt, .. } if of(job, stage) => {
                    self.slots.finish(RunKey { job, stage, attempt });
                    self.progress.clear(job, stage);
                }
                Report::Step { job, stage, reply, .. } if of(job, stage) => answer(reply, None),
                report @ (Report::Finished { .. } | Report::Step { .. }) => intake.reports.push(report),
            }
        }
    }

    /// Looks at the controls of the queues again if they may have changed.
    pub(super) async fn refresh_controls(&mut self) -> Result<(), StoreError> {
        if self.controls_exact {
            return Ok(());
        }
        let news = self.writer.load(&[(StreamId::Queues, self.controls.version)]).await?;
        for recorded in news.iter().flatten() {
            match quillwork_domain::wire::decode(recorded) {
                Ok(quillwork_domain::job::Event::Queue(event)) => {
                    self.controls =
                        quillwork_domain::queue::evolve(std::mem::take(&mut self.controls), &event);
                }
                Ok(_) | Err(_) => {
                    tracing::error!(position = %recorded.position, "an event of the queues cannot be read and is passed over");
                    self.controls.version = recorded.version;
                }
            }
        }
        self.controls_exact = true;
        Ok(())
    }
}

/// Whoever hung up does not care.
fn answer<T>(reply: oneshot::Sender<T>, answer: T) {
    let _ = reply.send(answer);
}

/// Tells the clients that nothing was written; reports stay for the next try.
fn refuse_all(intake: &mut Intake, error: &StoreError) {
    // Where the store is and what ails it is for the operator, and in the log.
    let message = match error {
        StoreError::Unavailable(_) => "the store cannot be reached for now; nothing was written",
        StoreError::Full(_) => "the store cannot write until an operator makes room; nothing was written",
        StoreError::Corrupt(_) => "the store is damaged; nothing was written",
    };
    let refusal = Refusal::Unavailable { message: message.to_owned(), retry_after: Duration::from_secs(1) };
    for request in intake.requests.drain(..) {
        let verdicts = request.items.iter().map(|_| Err(refusal.clone())).collect();
        answer(request.reply, verdicts);
    }
    for request in intake.controls.drain(..) {
        answer(request.reply, Err(refusal.clone()));
    }
    for request in intake.notes.drain(..) {
        answer(request.reply, Err(refusal.clone()));
    }
    intake.n_items = 0;
    intake.orphans.clear();
}
