//! A log and a queue in memory, whose disk can be full.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Batch, CommitError, Entry, Head, IdempotencyKey, KeyOwner, LeaseToken, LogReader, LogWriter, StoreError,
    Task, TaskKey, TaskWrite,
};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::time::Timestamp;

#[derive(Default)]
struct Contents {
    events: Vec<Recorded>,
    tasks: BTreeMap<TaskKey, (Task, Option<LeaseToken>)>,
    keys: BTreeMap<IdempotencyKey, KeyOwner>,
    blobs: BTreeMap<Sha256Digest, Vec<u8>>,
    full: bool,
}

#[derive(Clone, Default)]
pub(super) struct MemoryLog(Arc<Mutex<Contents>>);

impl MemoryLog {
    fn with<T>(&self, f: impl FnOnce(&mut Contents) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    pub(super) fn set_full(&self, full: bool) {
        self.with(|log| log.full = full);
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
    async fn head(&mut self) -> Result<Head, StoreError> {
        Ok(self.end())
    }

    async fn commit(&mut self, _: Head, batch: &Batch) -> Result<(), CommitError> {
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
                        let (task, held) = log.tasks.get_mut(&key).ok_or(CommitError::Fenced(key))?;
                        task.run_at = run_at.unwrap_or(task.run_at);
                        *held = lease;
                    }
                    TaskWrite::Delete { key, .. } => {
                        log.tasks.remove(&key).ok_or(CommitError::Fenced(key))?;
                    }
                }
            }
            log.keys.extend(batch.keys.iter().cloned());
            for blob in &batch.blobs {
                let bytes = zstd::bulk::decompress(&blob.zstd, blob.bytes as usize).unwrap();
                log.blobs.insert(blob.sha256, bytes);
            }
            Ok(())
        })
    }

    async fn load(&mut self, jobs: &[JobId]) -> Result<Vec<Vec<Recorded>>, StoreError> {
        Ok(jobs.iter().map(|job| self.events(|event| event.job == *job, usize::MAX)).collect())
    }

    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError> {
        Ok(self.with(|log| keys.iter().map(|key| log.keys.get(key).copied()).collect()))
    }

    async fn ready(&mut self, handler: &str, now: Timestamp, limit: usize) -> Result<Vec<Task>, StoreError> {
        let waits = |(task, lease): &&(Task, Option<LeaseToken>)| {
            lease.is_none() && *task.handler == *handler && task.run_at <= now
        };
        let mut ready: Vec<Task> =
            self.with(|log| log.tasks.values().filter(waits).map(|(task, _)| task.clone()).collect());
        ready.sort_by_key(|task| (std::cmp::Reverse(task.priority), task.run_at, task.key));
        ready.truncate(limit);
        Ok(ready)
    }

    async fn next_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.with(|log| log.tasks.values().map(|(task, _)| task.run_at).filter(|at| *at > now).min()))
    }

    async fn handlers(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(vec![])
    }

    async fn backlog(&mut self) -> Result<u64, StoreError> {
        Ok(self.with(|log| log.tasks.len() as u64))
    }

    async fn open_lease(&mut self, _: &str, _: Timestamp) -> Result<LeaseToken, StoreError> {
        Ok(LeaseToken(1))
    }

    async fn renew_lease(&mut self, _: LeaseToken, _: Timestamp) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn orphans(
        &mut self,
        _: LeaseToken,
        _: Timestamp,
        _: usize,
    ) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError> {
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

    async fn stream(&self, job: JobId, after: u64, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        Ok(self.events(|event| event.job == job && event.version.0 > after, limit))
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        Ok(self.events(|event| event.position > after, limit))
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
