//! A process that was taken for dead and does not notice, and a store that does not, either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Batch, Claim, CommitError, Head, IdempotencyKey, KeyOwner, LeaseToken, LogWriter, StoreError, Survey,
    Task, TaskKey, TaskWrite,
};
use quillwork_domain::chain;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{StreamId, Version};
use quillwork_domain::time::Timestamp;

/// A writer whose process holds its first lease for alive and everything it ever took for its own.
pub struct Unaware {
    pub inner: Box<dyn LogWriter>,
    /// Writes what the store refuses, as if nobody asked who holds a task.
    pub fence_is_broken: bool,
    /// What was ever taken.
    pub taken: BTreeSet<TaskKey>,
}

impl Unaware {
    pub fn new(inner: Box<dyn LogWriter>, fence_is_broken: bool) -> Self {
        Self { inner, fence_is_broken, taken: BTreeSet::new() }
    }

    /// Writes a refused batch at the end of the log as it is now, without what it says of tasks.
    async fn force(&mut self, refused: &Batch) -> Result<(), CommitError> {
        let survey = self.inner.lock().await?;
        let mut batch = Batch { tasks: vec![], ..refused.clone() };
        let mut head = survey.head;
        let mut versions: BTreeMap<StreamId, Version> = BTreeMap::new();
        for entry in &mut batch.entries {
            let recorded = &mut entry.recorded;
            let stream = recorded.stream;
            let last = match versions.get(&stream) {
                Some(version) => *version,
                None => self.last_version(stream).await?,
            };
            recorded.version = last.next();
            versions.insert(stream, recorded.version);
            recorded.position = head.position.next();
            recorded.hash = chain::link(&head.hash, recorded);
            head = Head { position: recorded.position, hash: recorded.hash };
        }
        self.inner.commit(survey.head, &batch).await
    }

    async fn last_version(&mut self, stream: StreamId) -> Result<Version, StoreError> {
        let events = self.inner.load(&[(stream, Version::default())]).await?;
        Ok(events.iter().flatten().last().map(|event| event.version).unwrap_or_default())
    }
}

#[async_trait]
impl LogWriter for Unaware {
    async fn commit(&mut self, expected: Head, batch: &Batch) -> Result<(), CommitError> {
        for write in &batch.tasks {
            match write {
                TaskWrite::Insert { task, lease: Some(_) } => self.taken.insert(task.key),
                TaskWrite::Move { key, lease: Some(_), .. } => self.taken.insert(*key),
                TaskWrite::Insert { .. } | TaskWrite::Move { .. } | TaskWrite::Delete { .. } => false,
            };
        }
        match self.inner.commit(expected, batch).await {
            Err(CommitError::Fenced(_)) if self.fence_is_broken => self.force(batch).await,
            done => done,
        }
    }

    async fn renew_lease(&mut self, _lease: LeaseToken, _ttl: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn held(&mut self, _lease: LeaseToken) -> Result<Vec<TaskKey>, StoreError> {
        Ok(self.taken.iter().copied().collect())
    }

    fn is_exclusive(&self) -> bool {
        self.inner.is_exclusive()
    }

    async fn survey(&mut self) -> Result<Survey, StoreError> {
        self.inner.survey().await
    }

    async fn lock(&mut self) -> Result<Survey, StoreError> {
        self.inner.lock().await
    }

    async fn unlock(&mut self) -> Result<(), StoreError> {
        self.inner.unlock().await
    }

    async fn load(&mut self, streams: &[(StreamId, Version)]) -> Result<Vec<Vec<Recorded>>, StoreError> {
        self.inner.load(streams).await
    }

    async fn version(&mut self, stream: StreamId) -> Result<Version, StoreError> {
        self.inner.version(stream).await
    }

    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError> {
        self.inner.owners(keys).await
    }

    async fn ready(&mut self, claims: &[Claim], now: Timestamp) -> Result<Vec<Vec<Task>>, StoreError> {
        self.inner.ready(claims, now).await
    }

    async fn next_due(
        &mut self,
        handlers: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.inner.next_due(handlers, now).await
    }

    async fn held_by_handler(&mut self, handlers: &[Arc<str>]) -> Result<Vec<u64>, StoreError> {
        self.inner.held_by_handler(handlers).await
    }

    async fn handlers(&mut self) -> Result<Vec<String>, StoreError> {
        self.inner.handlers().await
    }

    async fn open_lease(&mut self, worker: &str, ttl: Duration) -> Result<LeaseToken, StoreError> {
        self.inner.open_lease(worker, ttl).await
    }

    async fn close_lease(&mut self, lease: LeaseToken) -> Result<(), StoreError> {
        self.inner.close_lease(lease).await
    }

    async fn orphans(
        &mut self,
        _mine: LeaseToken,
        _limit: usize,
    ) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError> {
        // Looking for the lost is for those who are not lost themselves.
        Ok(vec![])
    }

    async fn replace_queue(
        &mut self,
        tasks: &[(Task, Option<LeaseToken>)],
        keys: &[(IdempotencyKey, KeyOwner)],
    ) -> Result<(), StoreError> {
        self.inner.replace_queue(tasks, keys).await
    }
}
