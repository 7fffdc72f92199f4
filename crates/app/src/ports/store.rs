//! Storage of the log, of the queue and of what is committed with them.
//!
//! Two traits, because there are two capabilities. A [`LogWriter`] is owned by the one engine of a process and is
//! handed around by nobody; any number of readers share a [`LogReader`]. Adapters speak SQL and decide nothing.
//! `quillwork_store::conformance` is this contract as tests; every adapter runs it.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_domain::chain;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::job::Event;
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::time::Timestamp;

/// The end of the log: the position of the last event and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub position: Position,
    pub hash: Sha256Digest,
}

impl Head {
    /// The head of an empty log.
    pub const EMPTY: Self = Self { position: Position::START, hash: chain::GENESIS };
}

/// An event in both of its forms.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub recorded: Recorded,
    pub event: Event,
}

/// A task is the current stage of a job that waits or runs. It carries no payload: the truth is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    pub job: JobId,
    pub stage: StageIndex,
}

/// A task that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub key: TaskKey,
    pub handler: Arc<str>,
    /// Higher first.
    pub priority: i16,
    /// Not before this time; among equals the earlier first.
    pub run_at: Timestamp,
}

/// Names one lease: what one start of one process holds. From a sequence, never a name, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseToken(pub i64);

/// Who must hold a task for a write to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    Lease(LeaseToken),
    /// For cancelling: whoever holds it loses it.
    Anyone,
}

/// A change to the queue. Each key occurs at most once in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskWrite {
    /// A new task, held from birth if `lease` is set.
    Insert { task: Task, lease: Option<LeaseToken> },
    /// A task changes hands: taken, given back to run at `run_at`, or both at once.
    Move { key: TaskKey, held_by: Holder, lease: Option<LeaseToken>, run_at: Option<Timestamp> },
    /// The task is done with.
    Delete { key: TaskKey, held_by: Holder },
}

/// Bytes too large for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Digest of the uncompressed bytes.
    pub sha256: Sha256Digest,
    /// Uncompressed size.
    pub bytes: u64,
    /// The bytes, compressed with zstd.
    pub zstd: Vec<u8>,
}

/// A client's idempotency key, unique per tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    pub tenant: String,
    pub key: String,
}

/// The job that a key stands for, and the digest of the request it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOwner {
    pub job: JobId,
    pub digest: Sha256Digest,
}

/// What one commit writes, all or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In log order: positions follow the expected head without a gap.
    pub entries: Vec<Entry>,
    pub tasks: Vec<TaskWrite>,
    /// A blob that exists already is left as it is.
    pub blobs: Vec<Blob>,
    pub keys: Vec<(IdempotencyKey, KeyOwner)>,
}

/// The storage did not do what it was asked; nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Try again: the database is locked, restarting or out of reach.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Nothing can be written until an operator makes room.
    #[error("the store cannot write: {0}")]
    Full(String),
    /// The stored data is damaged.
    #[error("the store is damaged: {0}; run `quillwork audit verify` and restore a backup")]
    Corrupt(String),
}

/// A batch was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Another process appended since; load what moved and plan again.
    #[error("the head of the log moved")]
    HeadMoved,
    /// A task is not held as the batch presumes: its holder lost it.
    #[error("task {0:?} is not held as expected")]
    Fenced(TaskKey),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Appends. One per process, owned by its engine.
#[async_trait]
pub trait LogWriter: Send {
    /// The end of the log.
    async fn head(&mut self) -> Result<Head, StoreError>;

    /// Writes `batch` durably if the head is still `expected`; on any error nothing is written.
    ///
    /// When this returns `Ok`, the batch survives the loss of power.
    async fn commit(&mut self, expected: Head, batch: &Batch) -> Result<(), CommitError>;

    /// The events of each job in order; empty for a job that does not exist.
    async fn load(&mut self, jobs: &[JobId]) -> Result<Vec<Vec<Recorded>>, StoreError>;

    /// The owner of each key, if it has one.
    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError>;

    /// The first `limit` waiting tasks of `handler` that are due at `now`: by priority, then time, then job.
    async fn ready(&mut self, handler: &str, now: Timestamp, limit: usize) -> Result<Vec<Task>, StoreError>;

    /// The time of the first waiting task after `now`, of any handler.
    async fn next_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// The handlers that tasks name, in no order.
    async fn handlers(&mut self) -> Result<Vec<String>, StoreError>;

    /// How many tasks there are, waiting and held.
    async fn backlog(&mut self) -> Result<u64, StoreError>;

    /// Takes a new lease that holds until `until` unless renewed.
    async fn open_lease(&mut self, worker: &str, until: Timestamp) -> Result<LeaseToken, StoreError>;

    /// Prolongs a lease; false if it is gone, because it was given up as lost.
    async fn renew_lease(&mut self, lease: LeaseToken, until: Timestamp) -> Result<bool, StoreError>;

    /// Ends leases other than `mine` that expired before `now`, and returns up to `limit` tasks that no living lease holds, with the
    /// lease that held each. They stay held until a batch releases them.
    async fn orphans(
        &mut self,
        mine: LeaseToken,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError>;

    /// The tasks that a lease holds.
    async fn held(&mut self, lease: LeaseToken) -> Result<Vec<TaskKey>, StoreError>;

    /// Replaces the whole queue and the idempotency keys, as derived from the log.
    async fn replace_queue(
        &mut self,
        tasks: &[(Task, Option<LeaseToken>)],
        keys: &[(IdempotencyKey, KeyOwner)],
    ) -> Result<(), StoreError>;
}

/// Reads what is committed. Shared by everyone.
#[async_trait]
pub trait LogReader: Send + Sync + 'static {
    /// The end of the log.
    async fn head(&self) -> Result<Head, StoreError>;

    /// Up to `limit` events of `job` with a version greater than `after`, in order.
    async fn stream(&self, job: JobId, after: u64, limit: usize) -> Result<Vec<Recorded>, StoreError>;

    /// Up to `limit` events after a position, in order and without a gap.
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, StoreError>;

    /// The uncompressed bytes of a blob.
    async fn blob(&self, sha256: Sha256Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` tasks after `after`, with their lease, by key.
    async fn tasks(
        &self,
        after: Option<TaskKey>,
        limit: usize,
    ) -> Result<Vec<(Task, Option<LeaseToken>)>, StoreError>;

    /// Up to `limit` idempotency keys after `after`, by key.
    async fn keys(
        &self,
        after: Option<IdempotencyKey>,
        limit: usize,
    ) -> Result<Vec<(IdempotencyKey, KeyOwner)>, StoreError>;

    /// Up to `limit` digests of blobs after `after`.
    async fn blobs(&self, after: Option<Sha256Digest>, limit: usize)
    -> Result<Vec<Sha256Digest>, StoreError>;

    /// What the storage engine itself finds wrong with its files, one sentence each.
    async fn check(&self) -> Result<Vec<String>, StoreError>;
}
