//! A log in memory, built as the engine builds one: decide, encode, link, evolve, react.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use quillwork_domain::archive::{Candidate, JobsArchived, Run, archive, edges};
use quillwork_domain::chain;
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::export::{ArchiveInfo, Line};
use quillwork_domain::id::{Attempt, JobId, Position, StreamId, Version};
use quillwork_domain::job::{
    Command, ErrorClass, Event, Job, JobSubmitted, TaskChange, decide, evolve, react,
};
use quillwork_domain::payload::{Payload, Sha256Digest};
use quillwork_domain::plan::{Backoff, Jitter, Plan, PlannedStage, StageIndex};
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::audit::content::rating_key;
use crate::ports::store::{Head, IdempotencyKey, KeyOwner, LeaseToken, LogReader, StoreError, Task, TaskKey};

/// A store that anyone may tamper with.
#[derive(Clone, Default)]
pub(super) struct Memory {
    pub(super) events: Vec<Recorded>,
    pub(super) head: Option<Head>,
    pub(super) tasks: BTreeMap<TaskKey, (Task, Option<LeaseToken>)>,
    pub(super) keys: BTreeMap<IdempotencyKey, KeyOwner>,
    pub(super) blobs: BTreeMap<Sha256Digest, Vec<u8>>,
    pub(super) runs: Vec<Run>,
    /// Events that cannot be read.
    pub(super) corrupt: Vec<u64>,
    /// It gives no more events at once than this, however many are wanted.
    pub(super) most: Option<usize>,
    /// How often events were read in the order of the log.
    pub(super) n_reads: Arc<AtomicUsize>,
    jobs: BTreeMap<JobId, Job>,
    now: i64,
}

impl Memory {
    /// Commits what `command` makes of `job`.
    pub(super) fn apply(&mut self, job: JobId, command: impl FnOnce(Timestamp) -> Command) {
        self.pass();
        let at = Timestamp::from_millis(self.now);
        let state = self.jobs.entry(job).or_default().clone();
        let events = decide(&state, command(at)).unwrap();
        assert!(!events.is_empty(), "nothing happened");
        for event in events {
            self.append(job, &event);
        }
    }

    /// Lets ten seconds pass.
    pub(super) fn pass(&mut self) {
        self.now += 10_000;
    }

    /// Takes jobs out of the log; returns what the archive would be.
    pub(super) fn archive(&mut self, jobs: &[JobId]) -> Vec<Line> {
        self.pass();
        let streams: Vec<Vec<Recorded>> = jobs
            .iter()
            .map(|job| self.events.iter().filter(|event| event.stream.job() == Some(*job)).cloned().collect())
            .collect();
        let candidates: Vec<Candidate<'_>> = jobs
            .iter()
            .zip(&streams)
            .map(|(job, events)| Candidate { job: *job, version: events.last().unwrap().version, events })
            .collect();
        // What is known at a position: an event, or the end of an earlier hole.
        let hash_at = |position: Position| {
            let event = self.events.iter().find(|event| event.position == position).map(|event| event.hash);
            event.or_else(|| self.runs.iter().find(|run| run.last == position).map(|run| run.hash))
        };
        let positions = streams.iter().flatten().map(|event| event.position);
        let hashes = edges(positions).into_iter().filter_map(|edge| Some((edge, hash_at(edge)?))).collect();
        let archived = archive(&candidates, &hashes, Timestamp::from_millis(self.now), None).unwrap();
        let through = archived.through;
        let mut lines = vec![Line::Archive(ArchiveInfo { through })];
        let (mut next, mut previous) = (Position(1), chain::GENESIS);
        for run in &archived.runs {
            if next < run.first {
                let last = Position(run.first.0 - 1);
                lines.push(Line::Hole(Run { first: next, last, before: previous, hash: run.before }));
            }
            let inside = self.events.iter().filter(|event| (run.first..=run.last).contains(&event.position));
            lines.extend(inside.cloned().map(Line::Event));
            (next, previous) = (run.last.next(), run.hash);
        }
        self.runs.extend(&archived.runs);
        self.runs.sort_unstable_by_key(|run| run.last);
        self.keys.retain(|_, owner| !jobs.contains(&owner.job));
        self.events.retain(|event| event.stream.job().is_none_or(|job| !jobs.contains(&job)));
        self.tell(archived);
        lines
    }

    /// Commits the event of an archive.
    pub(super) fn tell(&mut self, archived: JobsArchived) {
        let version = self.events.iter().filter(|event| event.stream == StreamId::Archive).count() as u64;
        let recorded = self.record(StreamId::Archive, Version(version + 1), &Event::Archive(archived));
        self.events.push(recorded);
    }

    /// Commits an event, allowed or not.
    pub(super) fn append(&mut self, job: JobId, event: &Event) {
        let recorded_at = Timestamp::from_millis(self.now);
        let state = self.jobs.entry(job).or_default().clone();
        let recorded = self.record(job.into(), state.version.next(), event);
        self.queue(job, &state, event, recorded_at);
        if let Event::JobSubmitted(submitted) = event
            && let Some(key) = &submitted.idempotency_key
        {
            let owner = KeyOwner { job, digest: submitted.request_digest.unwrap() };
            self.keys.insert(IdempotencyKey { tenant: "default".into(), key: key.clone() }, owner);
        }
        self.events.push(recorded);
        self.jobs.insert(job, evolve(state, event));
    }

    /// Commits an event of an article, allowed or not.
    pub(super) fn note(&mut self, article: JobId, version: u64, event: &Event) {
        let recorded = self.record(StreamId::Content(article), Version(version), event);
        if let Event::Content(event) = event {
            self.keys.extend(rating_key(&recorded.meta.tenant, article, event));
        }
        self.events.push(recorded);
    }

    fn record(&mut self, stream: StreamId, version: Version, event: &Event) -> Recorded {
        let recorded_at = Timestamp::from_millis(self.now);
        let head = self.head.unwrap_or(Head::EMPTY);
        let encoded = wire::encode(event).unwrap();
        let mut recorded = Recorded {
            position: head.position.next(),
            stream,
            version,
            event_id: Uuid::from_u128(0xABCD_0000 + u128::from(head.position.0)),
            kind: encoded.kind.into(),
            schema_version: encoded.schema_version,
            data: encoded.data,
            meta: Meta {
                actor: "client".into(),
                tenant: "default".into(),
                correlation_id: Uuid::from_u128(0xC0FFEE),
                causation_id: Some(Uuid::from_u128(0xCAFE)),
                traceparent: Some("00-abc-def-01".into()),
            },
            recorded_at,
            hash: chain::GENESIS,
        };
        recorded.hash = chain::link(&head.hash, &recorded);
        self.head = Some(Head { position: recorded.position, hash: recorded.hash });
        recorded
    }

    fn queue(&mut self, job: JobId, before: &Job, event: &Event, now: Timestamp) {
        let first = self.events.iter().find(|event| event.stream == job.into());
        let since = first.map_or(now, |event| event.recorded_at);
        let open = |log: &mut Self, stage: StageIndex, submitted: &JobSubmitted, run_at: Timestamp| {
            let key = TaskKey { job, stage };
            let handler = submitted.plan.get(stage).unwrap().handler.clone();
            log.tasks.insert(
                key,
                (Task { key, handler, tenant: "default".into(), priority: submitted.priority, run_at }, None),
            );
        };
        let submitted = if let Event::JobSubmitted(submitted) = event {
            submitted
        } else {
            let Some(submitted) = &before.submitted else { return };
            submitted
        };
        for change in react(before, event) {
            match change {
                TaskChange::Open { stage, run_at } => open(self, stage, submitted, run_at.unwrap_or(now)),
                TaskChange::Release { stage, run_at } => open(self, stage, submitted, run_at),
                TaskChange::Follow { stage } | TaskChange::Resume { stage } => {
                    open(self, stage, submitted, since)
                }
                TaskChange::Lease { stage } => {
                    if let Some((_, lease)) = self.tasks.get_mut(&TaskKey { job, stage }) {
                        *lease = Some(LeaseToken(7));
                    }
                }
                TaskChange::Close { stage } => {
                    self.tasks.remove(&TaskKey { job, stage });
                }
            }
        }
    }

    /// The export of the whole log.
    pub(super) fn export(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        let mut runs = self.runs.iter().peekable();
        for event in &self.events {
            while let Some(run) = runs.next_if(|run| run.last < event.position) {
                lines.push(Line::Hole(*run));
            }
            lines.push(Line::Event(event.clone()));
        }
        write(&lines)
    }
}

/// The lines of a file.
pub(super) fn write(lines: &[Line]) -> Vec<u8> {
    lines.iter().flat_map(|line| (line.write().unwrap() + "\n").into_bytes()).collect()
}

pub(super) fn job(n: u128) -> JobId {
    JobId(Uuid::from_u128(0xF00D_0000 + n))
}

/// Two stages of `echo`, the second with a single attempt.
pub(super) fn submission(key: Option<&str>) -> Arc<JobSubmitted> {
    let stage = |name: &str, max_attempts| PlannedStage {
        name: name.into(),
        handler: "echo".into(),
        max_attempts,
        timeout_ms: 1_000,
        backoff: Backoff { initial_ms: 1, factor: 2, max_ms: 10 },
        max_rate_limited: 1,
        max_lost: 1,
        beside_previous: false,
    };
    Arc::new(JobSubmitted {
        priority: 3,
        idempotency_key: key.map(str::to_owned),
        request_digest: key.map(|_| Sha256Digest::of(b"body")),
        ..JobSubmitted::new(
            "Topic".into(),
            "echo".into(),
            Plan::new(vec![stage("echo-1", 2), stage("echo-2", 1)]).unwrap(),
        )
    })
}

pub(super) fn start_of(stage: u16) -> impl FnOnce(Timestamp) -> Command {
    move |at| Command::StartStage { stage: StageIndex(stage), worker: "w".into(), at }
}

pub(super) fn payload(json: &str) -> Payload {
    Payload::inline(RawValue::from_string(json.into()).unwrap()).unwrap()
}

pub(super) fn complete(stage: u16, attempt: u32, output: Payload) -> impl FnOnce(Timestamp) -> Command {
    move |_| Command::CompleteStage {
        stage: StageIndex(stage),
        attempt: Attempt(attempt),
        output,
        usage: None,
        rework: None,
    }
}

pub(super) fn fail(stage: u16, attempt: u32, class: ErrorClass) -> impl FnOnce(Timestamp) -> Command {
    move |at| Command::FailStage {
        stage: StageIndex(stage),
        attempt: Attempt(attempt),
        class,
        message: "no".into(),
        retry_after: None,
        jitter: Jitter(u16::MAX),
        at,
    }
}

/// One job of every fate, woven together.
pub(super) fn valid() -> Memory {
    let mut log = Memory::default();
    for (n, key) in [(1, Some("k1")), (2, None), (3, Some("k3")), (4, None), (5, None), (6, None)] {
        log.apply(job(n), |_| Command::Submit(submission(key)));
    }
    for n in 1..=4 {
        log.apply(job(n), start_of(0));
    }
    // 1 fails, is rate limited, loses its worker, gives the stage back, and completes, with a step and a blob.
    for (attempt, class) in
        [ErrorClass::Transient, ErrorClass::RateLimited, ErrorClass::Lost, ErrorClass::Released]
            .into_iter()
            .enumerate()
    {
        log.apply(job(1), fail(0, u32::try_from(attempt).unwrap() + 1, class));
        log.apply(job(1), start_of(0));
    }
    log.apply(job(1), |_| Command::RecordStep {
        stage: StageIndex(0),
        attempt: Attempt(5),
        key: "search".into(),
        output: payload("[1]"),
        spent: None,
    });
    let text = RawValue::from_string(format!("\"{}\"", "x".repeat(20_000))).unwrap();
    log.blobs.insert(Sha256Digest::of(text.get().as_bytes()), text.get().as_bytes().to_vec());
    log.apply(job(1), complete(0, 5, Payload::blob(&text)));
    log.apply(job(1), start_of(1));
    log.apply(job(1), complete(1, 1, payload("{}")));
    // 2 fails for good, is retried and runs; 3 is cancelled while it runs; 4 waits for its retry.
    log.apply(job(2), fail(0, 1, ErrorClass::Permanent));
    log.apply(job(2), |_| Command::Retry);
    log.apply(job(2), start_of(0));
    log.apply(job(3), |_| Command::Cancel { reason: Some("enough".into()) });
    log.apply(job(4), fail(0, 1, ErrorClass::Timeout));
    // 5 is given up without a worker; 6 still waits.
    log.apply(job(5), |_| Command::Abandon {
        stage: StageIndex(0),
        class: ErrorClass::UnknownHandler,
        message: "no worker".into(),
    });
    log
}

/// A few events, for tests that try very many changes.
pub(super) fn small() -> Memory {
    let mut log = Memory::default();
    log.apply(job(1), |_| Command::Submit(submission(Some("k1"))));
    log.apply(job(1), start_of(0));
    log.apply(job(1), fail(0, 1, ErrorClass::Timeout));
    log.apply(job(2), |_| Command::Submit(submission(None)));
    log.apply(job(1), start_of(0));
    log.apply(job(1), complete(0, 2, payload("{\"a\":1}")));
    log.apply(job(2), |_| Command::Cancel { reason: None });
    log
}

#[async_trait]
impl LogReader for Memory {
    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.head.unwrap_or(Head::EMPTY))
    }

    async fn stream(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let events = self.events.iter().filter(|event| event.stream == stream && event.version > after);
        Ok(events.take(limit).cloned().collect())
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.n_reads.fetch_add(1, Ordering::Relaxed);
        let mut events: Vec<Recorded> =
            self.events.iter().filter(|event| event.position > after).cloned().collect();
        events.sort_by_key(|event| event.position);
        events.truncate(self.most.map_or(limit, |most| most.min(limit)));
        if events.iter().any(|event| self.corrupt.contains(&event.position.0)) {
            return Err(StoreError::Corrupt("damaged row".into()));
        }
        Ok(events)
    }

    async fn archived_runs(&self, after: Position, limit: usize) -> Result<Vec<Run>, StoreError> {
        Ok(self.runs.iter().filter(|run| run.last > after).take(limit).copied().collect())
    }

    async fn blob(&self, sha256: Sha256Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.blobs.get(&sha256).cloned())
    }

    async fn tasks(
        &self,
        after: Option<TaskKey>,
        limit: usize,
    ) -> Result<Vec<(Task, Option<LeaseToken>)>, StoreError> {
        let tasks = self.tasks.iter().filter(|(key, _)| after.is_none_or(|after| **key > after));
        Ok(tasks.map(|(_, task)| task.clone()).take(limit).collect())
    }

    async fn keys(
        &self,
        after: Option<IdempotencyKey>,
        limit: usize,
    ) -> Result<Vec<(IdempotencyKey, KeyOwner)>, StoreError> {
        let keys = self.keys.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
        Ok(keys.map(|(key, owner)| (key.clone(), *owner)).take(limit).collect())
    }

    async fn blobs(
        &self,
        after: Option<Sha256Digest>,
        limit: usize,
    ) -> Result<Vec<Sha256Digest>, StoreError> {
        let digests = self.blobs.keys().filter(|digest| after.is_none_or(|after| **digest > after));
        Ok(digests.take(limit).copied().collect())
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        Ok(vec![])
    }
}
