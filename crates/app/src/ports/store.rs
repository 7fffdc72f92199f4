//! Storage of the log, of the queue and of what is committed with them.
//!
//! Two traits, because there are two capabilities. A [`LogWriter`] is owned by the one engine of a process and is
//! handed around by nobody; any number of readers share a [`LogReader`]. Adapters speak SQL and decide nothing.
//! `quillwork_store::conformance` is this contract as tests; every adapter runs it.

mod happened;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quillwork_domain::archive::Run;
use quillwork_domain::chain;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::job::Event;
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::time::Timestamp;

pub use happened::Happened;

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
    /// Whose job it is: tenants take turns.
    pub tenant: Arc<str>,
    /// Among the tasks of a tenant the higher first.
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

/// A wish for waiting tasks of one handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub handler: Arc<str>,
    /// The tenant that had the last turn; the next one in the order of names begins.
    pub after: Arc<str>,
    pub limit: usize,
}

/// What a writer sees when it looks at the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    pub head: Head,
    /// How many tasks there are, waiting and held.
    pub backlog: u64,
    /// The position of the head after the last commit for which [`Batch::adds_to_queue`] holds.
    pub queue: Position,
    /// The last version of the stream of the queues, which has their controls.
    pub controls: Version,
    /// By the clock of the store, which all processes share.
    pub now: Timestamp,
    /// Another process is alive that may write, or wants to hear of what is written.
    pub shared: bool,
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
    pub removal: Removal,
    pub news: News,
}

/// What leaves the log. Their positions become holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Streams, each with its last version. If a stream has more or fewer events by now, the whole batch is refused as
    /// [`CommitError::HeadMoved`]. Each occurs once.
    pub streams: Vec<(StreamId, Version)>,
    /// The idempotency keys that go with them.
    pub keys: Vec<IdempotencyKey>,
    /// The holes, kept for those who read across them.
    pub runs: Vec<Run>,
}

impl Removal {
    /// True if nothing leaves.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}

impl Batch {
    /// True if tasks wait after this batch that did not before, or the controls of the queues changed: what others
    /// know of the queue is out of date.
    pub fn adds_to_queue(&self) -> bool {
        let added = |write: &TaskWrite| match write {
            TaskWrite::Insert { lease, .. } | TaskWrite::Move { lease, .. } => lease.is_none(),
            TaskWrite::Delete { .. } => false,
        };
        self.tasks.iter().any(added)
            || self.entries.iter().any(|entry| entry.recorded.stream == StreamId::Queues)
    }
}

/// What other processes may want to act on at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Handlers that got tasks which wait, now or until their time.
    pub waiting: BTreeSet<Arc<str>>,
    /// A job was cancelled whose stage may run somewhere.
    pub cancelled: bool,
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
    /// These tasks are not held as the batch presumes: their holder lost them.
    #[error("tasks {0:?} are not held as expected")]
    Fenced(Vec<TaskKey>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Appends. One per process, owned by its engine.
#[async_trait]
pub trait LogWriter: Send {
    /// True if no other process can ever write while this writer lives.
    fn is_exclusive(&self) -> bool;

    /// Looks at the log. What it says may be old when it arrives, unless the writer is exclusive.
    ///
    /// After a commit whose outcome is not known this waits until the outcome is final.
    async fn survey(&mut self) -> Result<Survey, StoreError>;

    /// Looks at the log and keeps all other writers out until the next commit or [`LogWriter::unlock`].
    ///
    /// The store ends the lock of a holder that says nothing for about two seconds.
    async fn lock(&mut self) -> Result<Survey, StoreError>;

    /// Lets others write without having written. Without a lock it does nothing.
    async fn unlock(&mut self) -> Result<(), StoreError>;

    /// Writes `batch` durably if the head is still `expected`; on any error nothing is written. Ends a lock.
    ///
    /// When this returns `Ok`, the batch survives the loss of power.
    async fn commit(&mut self, expected: Head, batch: &Batch) -> Result<(), CommitError>;

    /// The events of each stream after a version, in order; empty for a stream that has none.
    async fn load(&mut self, streams: &[(StreamId, Version)]) -> Result<Vec<Vec<Recorded>>, StoreError>;

    /// The last version of a stream; 0 if it has no events.
    async fn version(&mut self, stream: StreamId) -> Result<Version, StoreError>;

    /// The last version of each stream; 0 if it has no events. One after the other, where a look costs little.
    async fn versions(&mut self, streams: &[StreamId]) -> Result<Vec<Version>, StoreError> {
        let mut versions = Vec::with_capacity(streams.len());
        for stream in streams {
            versions.push(self.version(*stream).await?);
        }
        Ok(versions)
    }

    /// The owner of each key, if it has one.
    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError>;

    /// For each claim up to its limit of waiting tasks that are due at `now`.
    ///
    /// Tenants take turns: the first task of each tenant, in the order of their names beginning after `after`, then the
    /// second of each, and so on. The tasks of one tenant come by priority, then time, then job.
    ///
    /// Time does not run back: what was due at an earlier call, or when it was committed, may stay so.
    async fn ready(&mut self, claims: &[Claim], now: Timestamp) -> Result<Vec<Vec<Task>>, StoreError>;

    /// The time of the first task of these handlers that waits for a time after `now`.
    async fn next_due(
        &mut self,
        handlers: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// How many tasks of each handler are held, by any lease.
    async fn held_by_handler(&mut self, handlers: &[Arc<str>]) -> Result<Vec<u64>, StoreError>;

    /// The handlers that tasks name, in no order.
    async fn handlers(&mut self) -> Result<Vec<String>, StoreError>;

    /// Takes a new lease that lives for `ttl` unless renewed. `worker` is for people.
    async fn open_lease(&mut self, worker: &str, ttl: Duration) -> Result<LeaseToken, StoreError>;

    /// Lets a lease live for `ttl` from now; false if it is gone, because it was given up as lost.
    async fn renew_lease(&mut self, lease: LeaseToken, ttl: Duration) -> Result<bool, StoreError>;

    /// Gives a lease up: what it holds is orphaned at once.
    async fn close_lease(&mut self, lease: LeaseToken) -> Result<(), StoreError>;

    /// Ends leases other than `mine` that have expired, and returns up to `limit` tasks that no living lease holds, with
    /// the lease that held each. They stay held until a batch releases them.
    async fn orphans(
        &mut self,
        mine: LeaseToken,
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

    /// Up to `limit` events of a stream after a version, in order.
    async fn stream(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// Up to `limit` events after a position, in order. Where events are missing [`LogReader::archived_runs`] says why;
    /// what it says is at least as new as the events that were read before.
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, StoreError>;

    /// What [`LogReader::read_all`] reads, as far as a fold needs it. A store that can leaves out the rest where it is.
    async fn replay(&self, after: Position, limit: usize) -> Result<Vec<Happened>, StoreError> {
        Ok(self.read_all(after, limit).await?.into_iter().map(Happened::from).collect())
    }

    /// Up to `limit` events of some kinds after a position and not beyond `until`, in order. A store that can passes over
    /// the others where they are.
    async fn read_kinds(
        &self,
        kinds: &[String],
        (mut after, until): (Position, Position),
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let mut found = Vec::new();
        while after < until && found.len() < limit {
            let page = self.read_all(after, limit).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            let wanted =
                |event: &Recorded| event.position <= until && kinds.iter().any(|kind| *kind == event.kind);
            found.extend(page.into_iter().filter(wanted));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Up to `limit` holes that end after a position, in order.
    async fn archived_runs(&self, after: Position, limit: usize) -> Result<Vec<Run>, StoreError>;

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

/// What a process learns of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The log has grown from one position to another, and what came with it. If this process knows less than the first
    /// one, others have written something before that it was not told.
    Written { before: Position, head: Position, news: News },
    /// Something may have happened; whoever cares must look.
    Unknown { head: Position },
}

/// Tells what other processes write. One per process; an exclusive store has none.
#[async_trait]
pub trait LogWatch: Send + 'static {
    /// Waits for the next notice. Own commits may be among them.
    ///
    /// Never fails: while the store is out of reach it waits, and after that the first notice is `Unknown`.
    async fn next(&mut self) -> Notice;
}
