//! A writer that counts what is asked of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Batch, Claim, CommitError, Head, IdempotencyKey, KeyOwner, LeaseToken, LogWriter, StoreError, Survey,
    Task, TaskKey,
};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{StreamId, Version};
use quillwork_domain::time::Timestamp;

/// How often each method of the port was called.
#[derive(Clone, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Calls {
    /// What was counted so far, by method.
    pub fn so_far(&self) -> BTreeMap<&'static str, usize> {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, method: &'static str) {
        *self.0.lock().unwrap().entry(method).or_default() += 1;
    }
}

/// Stands before a real writer.
pub struct Counting {
    pub inner: Box<dyn LogWriter>,
    pub calls: Calls,
}

#[async_trait]
impl LogWriter for Counting {
    fn is_exclusive(&self) -> bool {
        // Answered from memory: not a call.
        self.inner.is_exclusive()
    }

    async fn commit(&mut self, expected: Head, batch: &Batch) -> Result<(), CommitError> {
        self.calls.count("commit");
        self.inner.commit(expected, batch).await
    }

    async fn survey(&mut self) -> Result<Survey, StoreError> {
        self.calls.count("survey");
        self.inner.survey().await
    }

    async fn lock(&mut self) -> Result<Survey, StoreError> {
        self.calls.count("lock");
        self.inner.lock().await
    }

    async fn unlock(&mut self) -> Result<(), StoreError> {
        self.calls.count("unlock");
        self.inner.unlock().await
    }

    async fn load(&mut self, streams: &[(StreamId, Version)]) -> Result<Vec<Vec<Recorded>>, StoreError> {
        self.calls.count("load");
        self.inner.load(streams).await
    }

    async fn version(&mut self, stream: StreamId) -> Result<Version, StoreError> {
        self.calls.count("version");
        self.inner.version(stream).await
    }

    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError> {
        self.calls.count("owners");
        self.inner.owners(keys).await
    }

    async fn ready(&mut self, claims: &[Claim], now: Timestamp) -> Result<Vec<Vec<Task>>, StoreError> {
        self.calls.count("ready");
        self.inner.ready(claims, now).await
    }

    async fn next_due(
        &mut self,
        handlers: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.calls.count("next_due");
        self.inner.next_due(handlers, now).await
    }

    async fn held_by_handler(&mut self, handlers: &[Arc<str>]) -> Result<Vec<u64>, StoreError> {
        self.calls.count("held_by_handler");
        self.inner.held_by_handler(handlers).await
    }

    async fn handlers(&mut self) -> Result<Vec<String>, StoreError> {
        self.calls.count("handlers");
        self.inner.handlers().await
    }

    async fn open_lease(&mut self, worker: &str, ttl: Duration) -> Result<LeaseToken, StoreError> {
        self.calls.count("open_lease");
        self.inner.open_lease(worker, ttl).await
    }

    async fn renew_lease(&mut self, lease: LeaseToken, ttl: Duration) -> Result<bool, StoreError> {
        self.calls.count("renew_lease");
        self.inner.renew_lease(lease, ttl).await
    }

    async fn close_lease(&mut self, lease: LeaseToken) -> Result<(), StoreError> {
        self.calls.count("close_lease");
        self.inner.close_lease(lease).await
    }

    async fn orphans(
        &mut self,
        mine: LeaseToken,
        limit: usize,
    ) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError> {
        self.calls.count("orphans");
        self.inner.orphans(mine, limit).await
    }

    async fn held(&mut self, lease: LeaseToken) -> Result<Vec<TaskKey>, StoreError> {
        self.calls.count("held");
        self.inner.held(lease).await
    }

    async fn replace_queue(
        &mut self,
        tasks: &[(Task, Option<LeaseToken>)],
        keys: &[(IdempotencyKey, KeyOwner)],
    ) -> Result<(), StoreError> {
        self.calls.count("replace_queue");
        self.inner.replace_queue(tasks, keys).await
    }
}
