//! Planning a batch: pure. Decides commands in order, each seeing the effect of those before it, and collects what one
//! commit must write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::chain;
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::job::{
    Command, ErrorClass, Event, Job, Phase, Status, TaskChange, decide, evolve, react,
};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire::{self, Encoded};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::batch::PendingTasks;
use crate::engine::cache::{Cache, KnownJob};
use crate::engine::queue::Queues;
use crate::engine::slots::RunKey;
use crate::engine::{Accepted, Refusal, StageRun};
use crate::ports::store::{
    Batch, Blob, Entry, Head, Holder, IdempotencyKey, KeyOwner, LeaseToken, Task, TaskKey,
};

/// What planning takes from outside as data: time, identity, and who plans.
pub(crate) struct Circumstances<'a> {
    pub(crate) now: Timestamp,
    pub(crate) head: Head,
    pub(crate) worker: &'a Arc<str>,
    pub(crate) lease: LeaseToken,
    /// Tasks in the queue before this batch.
    pub(crate) backlog: u64,
    pub(crate) max_backlog: u64,
    /// Owners of the idempotency keys in this batch, where there are any.
    pub(crate) owners: BTreeMap<IdempotencyKey, KeyOwner>,
    pub(crate) new_event_id: &'a mut dyn FnMut() -> Uuid,
}

/// A batch in the making. Needs every job that its commands name in the cache.
pub(crate) struct BatchPlan<'a> {
    circumstances: Circumstances<'a>,
    cache: &'a mut Cache,
    head: Head,
    batch: Batch,
    tasks: PendingTasks,
    n_opened: u64,
    started: Vec<(Arc<str>, StageRun)>,
    cancelled: Vec<RunKey>,
}

/// What to write, and what to do once it is written.
pub(crate) struct Planned {
    pub(crate) batch: Batch,
    pub(crate) head: Head,
    /// How much the queue grows or shrinks.
    pub(crate) growth: i64,
    /// Stages to hand to the worker of their handler.
    pub(crate) started: Vec<(Arc<str>, StageRun)>,
    /// Attempts whose job was cancelled.
    pub(crate) cancelled: Vec<RunKey>,
}

/// Who commands, and which lease they hold.
pub(crate) struct Authority {
    pub(crate) meta: Meta,
    pub(crate) held_by: Holder,
}

impl<'a> BatchPlan<'a> {
    pub(crate) fn new(circumstances: Circumstances<'a>, cache: &'a mut Cache) -> Self {
        let head = circumstances.head;
        Self {
            circumstances,
            cache,
            head,
            batch: Batch::default(),
            tasks: PendingTasks::default(),
            n_opened: 0,
            started: Vec::new(),
            cancelled: Vec::new(),
        }
    }

    /// Decides a client's command.
    pub(crate) fn request(
        &mut self,
        job: JobId,
        command: &Command,
        key: Option<&IdempotencyKey>,
        authority: &Authority,
    ) -> Result<Accepted, Refusal> {
        let Command::Submit(submission) = command else {
            if let Command::Retry = command {
                self.has_room()?;
            }
            let version = self.apply(job, command.clone(), authority)?;
            self.n_opened += u64::from(matches!(command, Command::Retry));
            return Ok(self.accepted(job, version, false));
        };
        let digest = submission.request_digest.unwrap_or(Sha256Digest([0; 32]));
        if let Some(key) = key
            && let Some(owner) = self.circumstances.owners.get(key).copied()
        {
            if owner.digest != digest {
                return Err(Refusal::KeyReused(key.key.clone()));
            }
            let version = self.cache.get(owner.job).map_or(Version::default(), |known| known.job.version);
            return Ok(self.accepted(owner.job, version, true));
        }
        self.has_room()?;
        let version = self.apply(job, command.clone(), authority)?;
        self.n_opened += 1;
        if let Some(key) = key {
            let owner = KeyOwner { job, digest };
            self.circumstances.owners.insert(key.clone(), owner);
            self.batch.keys.push((key.clone(), owner));
        }
        Ok(self.accepted(job, version, false))
    }

    fn has_room(&self) -> Result<(), Refusal> {
        let limit = self.circumstances.max_backlog;
        if self.circumstances.backlog + self.n_opened < limit {
            return Ok(());
        }
        Err(Refusal::BacklogFull { limit, retry_after: Duration::from_secs(5) })
    }

    fn accepted(&mut self, job: JobId, version: Version, replayed: bool) -> Accepted {
        let now = self.circumstances.now;
        let status = self.cache.get(job).and_then(|known| known.job.status(now));
        // A job with an accepted command exists; a queued one is the most careful guess for one that does not.
        let status = status.unwrap_or(Status::Queued);
        Accepted { job, status, position: self.head.position, version, replayed }
    }

    /// Decides a command, folds its events into the cache and collects what follows from them.
    pub(crate) fn apply(
        &mut self,
        id: JobId,
        command: Command,
        authority: &Authority,
    ) -> Result<Version, Refusal> {
        let mut known = self.cache.take(id).unwrap_or_default();
        let decided = decide(&known.job, command).map_err(Refusal::from).and_then(encode);
        let events = match decided {
            Ok(events) => events,
            Err(refusal) => {
                if known.last_event.is_some() {
                    self.cache.put(id, known);
                }
                return Err(refusal);
            }
        };
        let mut causation = authority.meta.causation_id;
        for (event, encoded) in events {
            self.change_task(id, &known.job, &event, authority.held_by);
            let meta = Meta { causation_id: causation, ..authority.meta.clone() };
            let recorded = self.record(id, known.job.version.next(), encoded, meta);
            causation = Some(recorded.event_id);
            known.last_event = causation;
            known.origin.get_or_insert_with(|| recorded.meta.clone());
            if let Event::JobCancelled(_) = event {
                self.cancelled.push(RunKey { job: id, stage: known.job.stage, attempt: known.job.attempt });
            }
            known.job = evolve(std::mem::take(&mut known.job), &event);
            self.batch.entries.push(Entry { recorded, event });
        }
        let version = known.job.version;
        self.cache.put(id, known);
        Ok(version)
    }

    fn record(&mut self, job: JobId, version: Version, encoded: Encoded, meta: Meta) -> Recorded {
        let position: Position = self.head.position.next();
        let mut recorded = Recorded {
            position,
            job,
            version,
            event_id: (self.circumstances.new_event_id)(),
            kind: encoded.kind.into(),
            schema_version: encoded.schema_version,
            data: encoded.data,
            meta,
            recorded_at: self.circumstances.now,
            hash: chain::GENESIS,
        };
        recorded.hash = chain::link(&self.head.hash, &recorded);
        self.head = Head { position, hash: recorded.hash };
        recorded
    }

    fn change_task(&mut self, id: JobId, before: &Job, event: &Event, held_by: Holder) {
        let Some(change) = react(before, event) else { return };
        let submitted = match event {
            Event::JobSubmitted(submitted) => Some(submitted),
            Event::StageStarted(_)
            | Event::StepRecorded(_)
            | Event::StageCompleted(_)
            | Event::StageFailed(_)
            | Event::JobCompleted(_)
            | Event::JobFailed(_)
            | Event::JobCancelled(_)
            | Event::JobRetried(_) => before.submitted.as_ref(),
        };
        let Some(submitted) = submitted else { return };
        let now = self.circumstances.now;
        let task = |stage: StageIndex, run_at: Option<Timestamp>| Task {
            key: TaskKey { job: id, stage },
            handler: submitted.plan.get(stage).map_or("", |planned| &planned.handler).into(),
            priority: submitted.priority,
            run_at: run_at.unwrap_or(now),
        };
        match change {
            TaskChange::Open { stage, run_at } => self.tasks.open(task(stage, run_at)),
            TaskChange::Lease { stage } => self.tasks.lease(task(stage, None), self.circumstances.lease),
            TaskChange::Release { stage, run_at } => self.tasks.release(task(stage, Some(run_at)), held_by),
            TaskChange::Advance { from, to } => {
                self.tasks.close(task(from, None), held_by);
                self.tasks.open(task(to, None));
            }
            TaskChange::Close { stage } => self.tasks.close(task(stage, None), held_by),
        }
    }

    /// The latest attempt of the job's current stage.
    pub(crate) fn attempt(&mut self, job: JobId) -> Attempt {
        self.cache.get(job).map_or(Attempt::default(), |known| known.job.attempt)
    }

    /// True if a worker's command comes from the attempt that runs now.
    pub(crate) fn holds(&mut self, job: JobId, command: &Command) -> bool {
        let (stage, attempt) = match command {
            Command::RecordStep { stage, attempt, .. }
            | Command::CompleteStage { stage, attempt, .. }
            | Command::FailStage { stage, attempt, .. } => (*stage, *attempt),
            Command::Submit(_)
            | Command::StartStage { .. }
            | Command::Cancel { .. }
            | Command::Retry
            | Command::Abandon { .. } => return false,
        };
        self.cache.get(job).is_some_and(|known| {
            known.job.phase == Phase::Running && known.job.stage == stage && known.job.attempt == attempt
        })
    }

    /// Keeps a blob that an event of this batch refers to.
    pub(crate) fn keep(&mut self, blob: Option<&Blob>) {
        self.batch.blobs.extend(blob.cloned());
    }

    /// The meta data of what the process itself does for a job: its origin, caused by the job's last event.
    pub(crate) fn on_behalf(&mut self, job: JobId, actor: &str) -> Meta {
        let known = self.cache.get(job);
        let causation_id = known.and_then(|known| known.last_event);
        match known.and_then(|known| known.origin.as_ref()) {
            Some(origin) => Meta { actor: actor.into(), causation_id, ..origin.clone() },
            // A job without events gets no events from the process either; `decide` refuses.
            None => Meta {
                actor: actor.into(),
                tenant: "".into(),
                correlation_id: Uuid::nil(),
                causation_id,
                traceparent: None,
            },
        }
    }

    /// Fails a job that no worker can run.
    pub(crate) fn abandon(&mut self, job: JobId) {
        let authority = Authority { meta: self.on_behalf(job, "engine"), held_by: Holder::Anyone };
        let message = "no worker has the handler of this stage; start one that has it, then retry the job";
        let command = Command::Abandon { class: ErrorClass::UnknownHandler, message: message.to_owned() };
        if let Err(refusal) = self.apply(job, command, &authority) {
            tracing::error!(%job, %refusal, "a task belongs to no job; rebuild the queue");
        }
    }

    /// Fills free slots with due tasks, in order. True if a slot stays free although the store may have
    /// a task for it: its job is not in the cache, or the window ran out.
    pub(crate) fn fill(&mut self, queues: &mut Queues, free: &mut BTreeMap<Arc<str>, usize>) -> bool {
        let now = self.circumstances.now;
        let mut unserved = Vec::new();
        for task in self.tasks.waiting() {
            if queues.serve(&task.handler) {
                queues.offer(task.clone(), now);
            } else {
                unserved.push(task.key.job);
            }
        }
        // Nobody else would run them: this process has the store for itself.
        unserved.into_iter().for_each(|job| self.abandon(job));
        let mut starved = false;
        for (handler, n_free) in free {
            while *n_free > 0 {
                let Some(task) = queues.pop(handler) else {
                    starved |= queues.wants_refill(handler);
                    break;
                };
                if !self.cache.contains(task.key.job) {
                    queues.put_back(task);
                    starved = true;
                    break;
                }
                if self.start(handler, task.key) {
                    *n_free -= 1;
                }
            }
        }
        starved
    }

    /// Starts the stage of a waiting task. False if it no longer waits, which the log knows better than a window.
    fn start(&mut self, handler: &Arc<str>, key: TaskKey) -> bool {
        let meta = self.on_behalf(key.job, "engine");
        let authority = Authority { meta, held_by: Holder::Nobody };
        if let Some(reason) = self.cache.get(key.job).and_then(|known| known.undecodable.clone()) {
            let command = Command::Abandon { class: ErrorClass::Undecodable, message: reason };
            // Nothing to do about a job that has ended in the meantime.
            let _ = self.apply(key.job, command, &authority);
            return false;
        }
        if self.cache.get(key.job).is_none_or(|known| known.job.stage != key.stage) {
            return false;
        }
        let command =
            Command::StartStage { worker: self.circumstances.worker.clone(), at: self.circumstances.now };
        if self.apply(key.job, command, &authority).is_err() {
            return false;
        }
        match self.cache.get(key.job).and_then(|known| stage_run(key.job, known)) {
            Some(run) => {
                self.started.push((handler.clone(), run));
                true
            }
            None => false,
        }
    }

    pub(crate) fn finish(self) -> Planned {
        let growth = self.tasks.growth();
        let batch = Batch { tasks: self.tasks.into_writes(), ..self.batch };
        Planned { batch, head: self.head, growth, started: self.started, cancelled: self.cancelled }
    }
}

/// Encodes all events of a command before anything is changed.
fn encode(events: Vec<Event>) -> Result<Vec<(Event, Encoded)>, Refusal> {
    let encode = |event| wire::encode(&event).map(|encoded| (event, encoded));
    events.into_iter().map(encode).collect::<Result<_, _>>().map_err(|error| {
        // Only a payload that is not JSON gets here, and payloads are parsed JSON.
        let message = format!("cannot encode an event: {error}");
        Refusal::Unavailable { message, retry_after: Duration::from_secs(1) }
    })
}

fn stage_run(id: JobId, known: &KnownJob) -> Option<StageRun> {
    let job = &known.job;
    let meta = Meta { causation_id: known.last_event, ..known.origin.clone()? };
    Some(StageRun {
        job: id,
        stage: job.stage,
        attempt: job.attempt,
        submitted: job.submitted.clone()?,
        outputs: job.outputs.clone(),
        steps: job.steps.clone(),
        meta,
        cancel: CancellationToken::new(),
    })
}

#[cfg(test)]
mod tests;
