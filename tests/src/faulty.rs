//! A writer that fails where a test tells it to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Batch, Claim, CommitError, Head, IdempotencyKey, KeyOwner, LeaseToken, LogWriter, StoreError, Survey,
    Task, TaskKey,
};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{StreamId, Version};
use quillwork_domain::time::Timestamp;
use tokio::sync::watch;

/// What happens at a commit, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the commit is written: it never returns.
    CrashBefore(usize),
    /// The process dies after the commit is written: it never returns.
    CrashAfter(usize),
    /// The commit and some after it fail as on a full disk.
    FailFor(usize, usize),
    /// The commit is written, and reported as failed.
    FailAfter(usize),
}

/// Stands before a real writer.
pub struct Faulty {
    pub inner: Box<dyn LogWriter>,
    pub fault: Fault,
    /// Commits so far.
    pub n_commits: usize,
    /// Counts the faults that came about.
    pub n_faults: watch::Sender<usize>,
}

impl Faulty {
    fn struck(&self) {
        self.n_faults.send_modify(|n_faults| *n_faults += 1);
    }
}

#[async_trait]
impl LogWriter for Faulty {
    async fn commit(&mut self, expected: Head, batch: &Batch) -> Result<(), CommitError> {
        self.n_commits += 1;
        let n = self.n_commits;
        match self.fault {
            Fault::CrashBefore(at) if n >= at => {
                self.struck();
                std::future::pending().await
            }
            Fault::CrashAfter(at) if n >= at => {
                self.inner.commit(expected, batch).await?;
                self.struck();
                std::future::pending().await
            }
            Fault::FailFor(at, times) if (at..at + times).contains(&n) => {
                self.struck();
                Err(CommitError::Store(StoreError::Full("the test's disk is full".into())))
            }
            Fault::FailAfter(at) if n == at => {
                self.inner.commit(expected, batch).await?;
                self.struck();
                Err(CommitError::Store(StoreError::Unavailable("the test cut the connection".into())))
            }
            Fault::CrashBefore(_) | Fault::CrashAfter(_) | Fault::FailFor(..) | Fault::FailAfter(_) => {
                self.inner.commit(expected, batch).await
            }
        }
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

    async fn renew_lease(&mut self, lease: LeaseToken, ttl: Duration) -> Result<bool, StoreError> {
        self.inner.renew_lease(lease, ttl).await
    }

    async fn close_lease(&mut self, lease: LeaseToken) -> Result<(), StoreError> {
        self.inner.close_lease(lease).await
    }

    async fn orphans(
        &mut self,
        mine: LeaseToken,
        limit: usize,
    ) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError> {
        self.inner.orphans(mine, limit).await
    }

    async fn held(&mut self, lease: LeaseToken) -> Result<Vec<TaskKey>, StoreError> {
        self.inner.held(lease).await
    }

    async fn replace_queue(
        &mut self,
        tasks: &[(Task, Option<LeaseToken>)],
        keys: &[(IdempotencyKey, KeyOwner)],
    ) -> Result<(), StoreError> {
        self.inner.replace_queue(tasks, keys).await
    }
}
