//! A writer that fails where a test tells it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Batch, CommitError, Head, IdempotencyKey, KeyOwner, LeaseToken, LogWriter, StoreError, Task, TaskKey,
};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::JobId;
use quillwork_domain::time::Timestamp;

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
    pub n_commits: Arc<AtomicUsize>,
    /// Counts the faults that came about.
    pub n_faults: Arc<AtomicUsize>,
}

impl Faulty {
    fn struck(&self) {
        self.n_faults.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl LogWriter for Faulty {
    async fn commit(&mut self, expected: Head, batch: &Batch) -> Result<(), CommitError> {
        let n = self.n_commits.fetch_add(1, Ordering::SeqCst) + 1;
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

    async fn head(&mut self) -> Result<Head, StoreError> {
        self.inner.head().await
    }

    async fn load(&mut self, jobs: &[JobId]) -> Result<Vec<Vec<Recorded>>, StoreError> {
        self.inner.load(jobs).await
    }

    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError> {
        self.inner.owners(keys).await
    }

    async fn ready(&mut self, handler: &str, now: Timestamp, limit: usize) -> Result<Vec<Task>, StoreError> {
        self.inner.ready(handler, now, limit).await
    }

    async fn next_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.inner.next_due(now).await
    }

    async fn handlers(&mut self) -> Result<Vec<String>, StoreError> {
        self.inner.handlers().await
    }

    async fn backlog(&mut self) -> Result<u64, StoreError> {
        self.inner.backlog().await
    }

    async fn open_lease(&mut self, worker: &str, until: Timestamp) -> Result<LeaseToken, StoreError> {
        self.inner.open_lease(worker, until).await
    }

    async fn renew_lease(&mut self, lease: LeaseToken, until: Timestamp) -> Result<bool, StoreError> {
        self.inner.renew_lease(lease, until).await
    }

    async fn orphans(
        &mut self,
        mine: LeaseToken,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError> {
        self.inner.orphans(mine, now, limit).await
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
