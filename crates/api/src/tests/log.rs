//! A log and a queue in memory, whose disk can be full or slow.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::clock;
use quillwork_app::ports::store::{
    Batch, Claim, CommitError, Entry, Head, IdempotencyKey, KeyOwner, LeaseToken, LogReader, LogWriter,
    StoreError, Survey, Task, TaskKey, TaskWrite,
};
use quillwork_domain::archive::Run;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::time::Timestamp;

#[derive(Default)]
struct Contents {
    events: Vec<Recorded>,
    tasks: BTreeMap<TaskKey, (Task, Option<LeaseToken>)>,
    keys: BTreeMap<IdempotencyKey, KeyOwner>,
    blobs: BTreeMap<Sha256Digest, Vec<u8>>,
    /// See [`Survey::queue`].
    queue: Position,
    full: bool,
    held: bool,
}

#[derive(Clone, Default)]
pub(super) struct MemoryLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    contents: Mutex<Contents>,
    released: Condvar,
}

impl MemoryLog {
    fn with<T>(&self, f: impl FnOnce(&mut Contents) -> T) -> T {
        f(&mut self.0.contents.lock().unwrap())
    }

    pub(super) fn set_full(&self, full: bool) {
        self.with(|log| log.full = full);
    }

    /// While it is held, no commit ends.
    pub(super) fn set_held(&self, held: bool) {
        self.with(|log| log.held = held);
        self.0.released.notify_all();
    }

    /// How many events there are of a kind.
    pub(super) fn n_events(&self, kind: &str) -> usize {
        self.with(|log| log.events.iter().filter(|event| event.kind == kind).count())
    }

    fn end(&self) -> Head {
        self.with(|log| {
            log.events.last().map_or(Head::EMPTY, |last| Head { position: last.position, hash: last.hash })
        })
    }

    fn events(&self, keep: impl Fn(&Recorded) -> bool, limit: usize) -> Vec<Recorded> {
        self.with(|log| log.events.iter().filter(|event| keep(event)).take(limit).cloned().collect())
    }
}

#[async_trait]
impl LogWriter for MemoryLog {
    fn is_exclusive(&self) -> bool {
        true
    }

    async fn survey(&mut self) -> Result<Survey, StoreError> {
        let head = self.end();
        Ok(self.with(|log| Survey {
            head,
            backlog: log.tasks.len() as u64,
            queue: log.queue,
            controls: Version(
                log.events.iter().filter(|event| event.stream == StreamId::Queues).count() as u64
            ),
            now: clock::now(),
            shared: false,
        }))
    }

    async fn lock(&mut self) -> Result<Survey, StoreError> {
        self.survey().await
    }

    async fn unlock(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(&mut self, _: Head, batch: &Batch) -> Result<(), CommitError> {
        // The engine has a thread of its own, which may be blocked.
        drop(self.0.released.wait_while(self.0.contents.lock().unwrap(), |log| log.held).unwrap());
        self.with(|log| {
            if log.full {
                return Err(StoreError::Full("the disk is full".into()).into());
            }
            log.events.extend(batch.entries.iter().map(|Entry { recorded, .. }| recorded.clone()));
            for write in batch.tasks.clone() {
                match write {
                    TaskWrite::Insert { task, lease } => {
                        log.tasks.insert(task.key, (task, lease));
                    }
                    TaskWrite::Move { key, lease, run_at, .. } => {
                        let (task, held) = log.tasks.get_mut(&key).ok_or(CommitError::Fenced(vec![key]))?;
                        task.run_at = run_at.unwrap_or(task.run_at);
                        *held = lease;
                    }
                    TaskWrite::Delete { key, .. } => {
                        log.tasks.remove(&key).ok_or(CommitError::Fenced(vec![key]))?;
                    }
                }
            }
            log.keys.extend(batch.keys.iter().cloned());
            for blob in &batch.blobs {
                let bytes = zstd::bulk::decompress(&blob.zstd, blob.bytes as usize).unwrap();
                log.blobs.insert(blob.sha256, bytes);
            }
            if let Some(last) = batch.entries.last().filter(|_| batch.adds_to_queue()) {
                log.queue = last.recorded.position;
            }
            Ok(())
        })
    }

    async fn load(&mut self, streams: &[(StreamId, Version)]) -> Result<Vec<Vec<Recorded>>, StoreError> {
        let load = |(stream, after): &(StreamId, Version)| {
            self.events(|event| event.stream == *stream && event.version > *after, usize::MAX)
        };
        Ok(streams.iter().map(load).collect())
    }

    async fn version(&mut self, stream: StreamId) -> Result<Version, StoreError> {
        let events = self.events(|event| event.stream == stream, usize::MAX);
        Ok(events.last().map_or(Version(0), |event| event.version))
    }

    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError> {
        Ok(self.with(|log| keys.iter().map(|key| log.keys.get(key).copied()).collect()))
    }

    /// Here tenants do not take turns.
    async fn ready(&mut self, claims: &[Claim], now: Timestamp) -> Result<Vec<Vec<Task>>, StoreError> {
        let ready = |claim: &Claim| {
            let waits = |(task, lease): &&(Task, Option<LeaseToken>)| {
                lease.is_none() && task.handler == claim.handler && task.run_at <= now
            };
            let mut ready: Vec<Task> =
                self.with(|log| log.tasks.values().filter(waits).map(|(task, _)| task.clone()).collect());
            ready.sort_by_key(|task| (std::cmp::Reverse(task.priority), task.run_at, task.key));
            ready.truncate(claim.limit);
            ready
        };
        Ok(claims.iter().map(ready).collect())
    }

    async fn next_due(
        &mut self,
        handlers: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let due = |(task, lease): &(Task, Option<LeaseToken>)| {
            (lease.is_none() && handlers.contains(&task.handler) && task.run_at > now).then_some(task.run_at)
        };
        Ok(self.with(|log| log.tasks.values().filter_map(due).min()))
    }

    async fn held_by_handler(&mut self, handlers: &[Arc<str>]) -> Result<Vec<u64>, StoreError> {
        let held = |log: &Contents, handler: &Arc<str>| {
            let held =
                |(task, lease): &&(Task, Option<LeaseToken>)| lease.is_some() && task.handler == *handler;
            log.tasks.values().filter(held).count() as u64
        };
        Ok(self.with(|log| handlers.iter().map(|handler| held(log, handler)).collect()))
    }

    async fn handlers(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(vec![])
    }

    async fn open_lease(&mut self, _: &str, _: Duration) -> Result<LeaseToken, StoreError> {
        Ok(LeaseToken(1))
    }

    async fn renew_lease(&mut self, _: LeaseToken, _: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn close_lease(&mut self, _: LeaseToken) -> Result<(), StoreError> {
        Ok(())
    }

    async fn orphans(&mut self, _: LeaseToken, _: usize) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError> {
        Ok(vec![])
    }

    async fn held(&mut self, lease: LeaseToken) -> Result<Vec<TaskKey>, StoreError> {
        let held = |(key, (_, held)): (&TaskKey, &(Task, Option<LeaseToken>))| {
            (*held == Some(lease)).then_some(*key)
        };
        Ok(self.with(|log| log.tasks.iter().filter_map(held).collect()))
    }

    async fn replace_queue(
        &mut self,
        _: &[(Task, Option<LeaseToken>)],
        _: &[(IdempotencyKey, KeyOwner)],
    ) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl LogReader for MemoryLog {
    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.end())
    }

    async fn stream(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        Ok(self.events(|event| event.stream == stream && event.version > after, limit))
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        Ok(self.events(|event| event.position > after, limit))
    }

    async fn archived_runs(&self, _: Position, _: usize) -> Result<Vec<Run>, StoreError> {
        Ok(vec![])
    }

    async fn blob(&self, sha256: Sha256Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(|log| log.blobs.get(&sha256).cloned()))
    }

    async fn tasks(
        &self,
        _: Option<TaskKey>,
        _: usize,
    ) -> Result<Vec<(Task, Option<LeaseToken>)>, StoreError> {
        Ok(vec![])
    }

    async fn keys(
        &self,
        _: Option<IdempotencyKey>,
        _: usize,
    ) -> Result<Vec<(IdempotencyKey, KeyOwner)>, StoreError> {
        Ok(vec![])
    }

    async fn blobs(&self, _: Option<Sha256Digest>, _: usize) -> Result<Vec<Sha256Digest>, StoreError> {
        Ok(vec![])
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        Ok(vec![])
    }
}
