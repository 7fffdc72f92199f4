//! Planning a batch: pure. Decides commands in order, each seeing the effect of those before it, and collects what one
//! commit must write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::chain;
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::{Attempt, JobId, Position, StreamId, Version};
use quillwork_domain::job::{
    Command, Event, Job, JobSubmitted, StagePhase, Status, TaskChange, decide, evolve, react,
};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::queue::{self, QueueCommand};
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire::{self, Encoded};
use uuid::Uuid;

use crate::engine::batch::PendingTasks;
use crate::engine::cache::{Cache, KnownJob};
use crate::engine::slots::RunKey;
use crate::engine::{Accepted, Controlled, Funds, Refusal, StageRun};
use crate::ports::store::{
    Batch, Blob, Entry, Head, Holder, IdempotencyKey, KeyOwner, LeaseToken, Task, TaskKey,
};

/// What planning takes from outside as data: time, identity, and who plans.
pub(crate) struct Circumstances<'a> {
    pub(crate) now: Timestamp,
    pub(crate) head: Head,
    pub(crate) worker: &'a Arc<str>,
    pub(crate) lease: LeaseToken,
    /// No other process can run what this one cannot.
    pub(crate) exclusive: bool,
    /// Tasks in the queue before this batch.
    pub(crate) backlog: u64,
    pub(crate) max_backlog: u64,
    /// Owners of the idempotency keys in this batch, where there are any.
    pub(crate) owners: BTreeMap<IdempotencyKey, KeyOwner>,
    pub(crate) new_event_id: &'a mut dyn FnMut() -> Uuid,
}

/// A batch in the making. Needs every job that its commands name in the cache.
pub(crate) struct BatchPlan<'a> {
    pub(super) circumstances: Circumstances<'a>,
    pub(super) cache: &'a mut Cache,
    controls: queue::Queues,
    /// Handlers whose controls this batch changes.
    pub(super) controlled: BTreeSet<String>,
    pub(super) head: Head,
    pub(super) batch: Batch,
    pub(super) tasks: PendingTasks,
    n_opened: u64,
    pub(super) started: Vec<(Arc<str>, StageRun)>,
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
    /// Attempts that run no more: their job was cancelled, or failed by another stage.
    pub(crate) cancelled: Vec<RunKey>,
    /// The controls of the queues after the batch.
    pub(crate) controls: queue::Queues,
}

/// Who commands, and which lease they hold.
pub(crate) struct Authority {
    pub(crate) meta: Meta,
    pub(crate) held_by: Holder,
}

impl<'a> BatchPlan<'a> {
    pub(crate) fn new(
        circumstances: Circumstances<'a>,
        cache: &'a mut Cache,
        controls: queue::Queues,
    ) -> Self {
        let head = circumstances.head;
        Self {
            circumstances,
            cache,
            controls,
            controlled: BTreeSet::new(),
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
        self.n_opened += first_group(submission);
        if let Some(key) = key {
            let owner = KeyOwner { job, digest };
            self.circumstances.owners.insert(key.clone(), owner);
            self.batch.keys.push((key.clone(), owner));
        }
        Ok(self.accepted(job, version, false))
    }

    /// Decides a command to the queues.
    pub(crate) fn control(&mut self, command: &QueueCommand, meta: &Meta) -> Result<Controlled, Refusal> {
        let handler = command.handler().to_owned();
        let events = queue::decide(&self.controls, command.clone()).into_iter().map(Event::Queue).collect();
        for (event, encoded) in encode(events)? {
            let version = self.controls.version.next();
            let recorded = self.record(StreamId::Queues, version, encoded, meta.clone());
            if let Event::Queue(event) = &event {
                self.controls = queue::evolve(std::mem::take(&mut self.controls), event);
            }
            self.batch.entries.push(Entry { recorded, event });
            self.batch.news.waiting.insert(handler.as_str().into());
            self.controlled.insert(handler.clone());
        }
        Ok(Controlled { control: self.controls.control(&handler), position: self.head.position })
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
        let (decided, version) = match self.cache.get(id) {
            Some(known) => (decide(&known.job, command), known.job.version),
            None => (decide(&Job::default(), command), Version::default()),
        };
        let events = decided.map_err(Refusal::from).and_then(encode)?;
        if events.is_empty() {
            // The job stays as it is, and also as old as it is: only a commit shows that it was not behind.
            return Ok(version);
        }
        let mut known = self.cache.take(id).unwrap_or_default();
        let mut causation = authority.meta.causation_id;
        for (event, encoded) in events {
            // The tenant of a job is that of whoever submitted it.
            let tenant = known.origin.as_ref().map_or(&authority.meta.tenant, |origin| &origin.tenant);
            self.change_tasks(id, tenant.clone(), &known, &event, authority.held_by);
            let meta = Meta { causation_id: causation, ..authority.meta.clone() };
            let recorded = self.record(id.into(), known.job.version.next(), encoded, meta);
            causation = Some(recorded.event_id);
            known.last_event = causation;
            if let Event::JobCancelled(_) | Event::JobFailed(_) = event {
                self.cancelled.extend(running(id, &known.job));
            }
            known.job = evolve(std::mem::take(&mut known.job), &event);
            if known.origin.is_none() {
                known.begin(recorded.meta.clone(), recorded.recorded_at);
            }
            self.batch.entries.push(Entry { recorded, event });
        }
        let version = known.job.version;
        self.cache.put(id, known);
        Ok(version)
    }

    pub(super) fn record(
        &mut self,
        stream: StreamId,
        version: Version,
        encoded: Encoded,
        meta: Meta,
    ) -> Recorded {
        let position: Position = self.head.position.next();
        let mut recorded = Recorded {
            position,
            stream,
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

    /// Writes down what `event` means for the tasks of its job. The task of a stage that it names is held by `held_by`;
    /// others, which it ends as well, may be held by any process.
    fn change_tasks(
        &mut self,
        id: JobId,
        tenant: Arc<str>,
        known: &KnownJob,
        event: &Event,
        held_by: Holder,
    ) {
        let before = &known.job;
        let submitted = match event {
            Event::JobSubmitted(submitted) => Some(submitted),
            Event::StageStarted(_)
            | Event::StepRecorded(_)
            | Event::StageCompleted(_)
            | Event::StageFailed(_)
            | Event::JobCompleted(_)
            | Event::JobFailed(_)
            | Event::JobCancelled(_)
            | Event::JobRetried(_)
            | Event::StagesReopened(_)
            | Event::JobPaused(_)
            | Event::JobResumed(_)
            | Event::BudgetSet(_)
            | Event::Queue(_)
            | Event::Archive(_)
            | Event::Content(_) => before.submitted.as_ref(),
        };
        let Some(submitted) = submitted else { return };
        let now = self.circumstances.now;
        let task = |stage: StageIndex, run_at: Option<Timestamp>| Task {
            key: TaskKey { job: id, stage },
            handler: submitted.plan.get(stage).map_or_else(|| "".into(), |planned| planned.handler.clone()),
            tenant: tenant.clone(),
            priority: submitted.priority,
            run_at: run_at.unwrap_or(now),
        };
        let holder = if event.ends_job() { Holder::Anyone } else { held_by };
        for change in react(before, event) {
            match change {
                TaskChange::Open { stage, run_at } => self.tasks.open(task(stage, run_at)),
                // A job that has begun keeps its place, before those that came later.
                TaskChange::Follow { stage } => self.tasks.open(task(stage, Some(known.since))),
                TaskChange::Lease { stage } => self.tasks.lease(task(stage, None), self.circumstances.lease),
                TaskChange::Release { stage, run_at } => {
                    self.tasks.release(task(stage, Some(run_at)), holder);
                }
                // Nobody holds it, whoever says so; and like one that follows it keeps its place.
                TaskChange::Resume { stage } => {
                    self.tasks.release(task(stage, Some(known.since)), Holder::Nobody);
                }
                TaskChange::Close { stage } => self.tasks.close(task(stage, None), holder),
            }
        }
    }

    /// The latest attempt of a task's stage.
    pub(crate) fn attempt(&mut self, TaskKey { job, stage }: TaskKey) -> Attempt {
        let state = self.cache.get(job).and_then(|known| known.job.stage(stage));
        state.map_or(Attempt::default(), |stage| stage.attempt)
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
            | Command::SetBudget { .. }
            | Command::Resume
            | Command::Abandon { .. } => return false,
        };
        self.cache.get(job).is_some_and(|known| {
            let stage = known.job.stage(stage).filter(|stage| stage.phase == StagePhase::Running);
            stage.is_some_and(|stage| stage.attempt == attempt)
        })
    }

    /// What was paid for a job, and how much may be.
    pub(crate) fn funds(&mut self, job: JobId) -> Funds {
        self.cache.get(job).map_or(Funds::default(), |known| Funds::of(&known.job))
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

    pub(crate) fn finish(self) -> Planned {
        let growth = self.tasks.growth();
        let mut batch = self.batch;
        batch.news.waiting.extend(self.tasks.waiting().map(|task| task.handler.clone()));
        batch.news.cancelled = !self.cancelled.is_empty();
        batch.tasks = self.tasks.into_writes();
        Planned {
            batch,
            head: self.head,
            growth,
            started: self.started,
            cancelled: self.cancelled,
            controls: self.controls,
        }
    }
}

/// How many tasks a new job has.
fn first_group(submission: &JobSubmitted) -> u64 {
    submission.plan.group(StageIndex::default()).len() as u64
}

/// The attempts of the job that run.
fn running(id: JobId, job: &Job) -> impl Iterator<Item = RunKey> + '_ {
    let runs = |stage: &StageIndex| job.stage(*stage).is_some_and(|stage| stage.phase == StagePhase::Running);
    job.open()
        .filter(runs)
        .filter_map(move |stage| Some(RunKey { job: id, stage, attempt: job.stage(stage)?.attempt }))
}

/// Encodes all events of a command before anything is changed.
pub(super) fn encode(events: Vec<Event>) -> Result<Vec<(Event, Encoded)>, Refusal> {
    let encode = |event| wire::encode(&event).map(|encoded| (event, encoded));
    events.into_iter().map(encode).collect::<Result<_, _>>().map_err(|error| {
        // Only a payload that is not JSON gets here, and payloads are parsed JSON.
        let message = format!("cannot encode an event: {error}");
        Refusal::Unavailable { message, retry_after: Duration::from_secs(1) }
    })
}

#[cfg(test)]
mod tests;
