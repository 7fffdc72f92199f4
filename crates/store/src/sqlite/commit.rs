//! The writer: one connection, one transaction per batch, one row per prepared statement.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::clock;
use quillwork_app::ports::store::{
    Batch, Claim, CommitError, Head, Holder, IdempotencyKey, KeyOwner, LeaseToken, LogWriter, Removal,
    StoreError, Survey, Task, TaskKey, TaskWrite,
};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use rusqlite::{
    CachedStatement, Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use crate::sqlite::checkpointer::Checkpointer;
use crate::sqlite::claims;
use crate::sqlite::held::HeldTasks;
use crate::sqlite::rows::{self, EVENT_COLUMNS, store_error};

/// About what removing an event writes: a share of its page and of those of its indexes.
const REMOVED_BYTES: usize = 2_048;

/// Its methods block their thread for the length of a transaction: the engine has a thread of its own.
///
/// Nobody else writes while it lives, so what counting would tell is kept in memory.
pub struct SqliteWriter {
    conn: Connection,
    checkpointer: Checkpointer,
    backlog: u64,
    held: HeldTasks,
    queue: Position,
}

impl SqliteWriter {
    pub(super) fn new(conn: Connection, checkpointer: Checkpointer) -> rusqlite::Result<Self> {
        let backlog = conn.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0))?;
        let held = HeldTasks::load(&conn)?;
        let queue = head(&conn)?.position;
        Ok(Self { conn, checkpointer, backlog, held, queue })
    }
}

#[async_trait]
impl LogWriter for SqliteWriter {
    fn is_exclusive(&self) -> bool {
        true
    }

    async fn survey(&mut self) -> Result<Survey, StoreError> {
        let head = head(&self.conn).map_err(store_error)?;
        let (backlog, queue) = (self.backlog, self.queue);
        let controls = self.version(StreamId::Queues).await?;
        Ok(Survey { head, backlog, queue, controls, now: clock::now(), shared: false })
    }

    /// Others are out as it is.
    async fn lock(&mut self) -> Result<Survey, StoreError> {
        self.survey().await
    }

    async fn unlock(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(&mut self, expected: Head, batch: &Batch) -> Result<(), CommitError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(commit_error)?;
        if head(&tx).map_err(commit_error)? != expected {
            return Err(CommitError::HeadMoved);
        }
        let bytes = append(&tx, batch).map_err(commit_error)?;
        if !remove(&tx, &batch.removal).map_err(commit_error)? {
            return Err(CommitError::HeadMoved);
        }
        let mut lost = Vec::new();
        let mut backlog = self.backlog;
        // What was due when the batch was planned need not wait for its time.
        let now = batch.entries.last().map_or_else(clock::now, |last| last.recorded.recorded_at);
        let mut tasks = TaskStatements::prepare(&tx, now).map_err(commit_error)?;
        for write in &batch.tasks {
            let changed = tasks.write(write).map_err(commit_error)?;
            if changed != 1 {
                lost.push(write_key(write));
                continue;
            }
            match write {
                TaskWrite::Insert { .. } => backlog += 1,
                TaskWrite::Delete { .. } => backlog -= 1,
                TaskWrite::Move { .. } => {}
            }
        }
        if !lost.is_empty() {
            return Err(CommitError::Fenced(lost));
        }
        drop(tasks);
        tx.commit().map_err(commit_error)?;
        self.backlog = backlog;
        self.held.follow(&batch.tasks);
        if batch.adds_to_queue() {
            self.queue = batch.entries.last().map_or(expected.position, |last| last.recorded.position);
        }
        // Pages are written whole, whatever was changed in them.
        let n_removed: u64 = batch.removal.streams.iter().map(|(_, version)| version.0).sum();
        let removed = usize::try_from(n_removed).unwrap_or(usize::MAX).saturating_mul(REMOVED_BYTES);
        self.checkpointer.note((bytes * 2 + 32 * 1_024).saturating_add(removed));
        Ok(())
    }

    async fn load(&mut self, streams: &[(StreamId, Version)]) -> Result<Vec<Vec<Recorded>>, StoreError> {
        let load = |(stream, after): &(StreamId, Version)| {
            self.conn
                .prepare_cached(&format!(
                    "SELECT {EVENT_COLUMNS} FROM events WHERE stream = ?1 AND version > ?2 ORDER BY version"
                ))?
                .query_map(params![stream.to_uuid().as_bytes(), after.0], rows::recorded)?
                .collect()
        };
        streams.iter().map(load).collect::<rusqlite::Result<_>>().map_err(store_error)
    }

    async fn version(&mut self, stream: StreamId) -> Result<Version, StoreError> {
        let version = || {
            self.conn
                .prepare_cached("SELECT coalesce(max(version), 0) FROM events WHERE stream = ?1")?
                .query_row([stream.to_uuid().as_bytes()], |row| row.get(0).map(Version))
        };
        version().map_err(store_error)
    }

    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError> {
        let owner = |key: &IdempotencyKey| {
            self.conn
                .prepare_cached("SELECT stream, digest FROM idempotency_keys WHERE tenant = ?1 AND key = ?2")?
                .query_row(params![key.tenant, key.key], |row| rows::owner(row, 0))
                .optional()
        };
        keys.iter().map(owner).collect::<rusqlite::Result<_>>().map_err(store_error)
    }

    async fn ready(&mut self, claims: &[Claim], now: Timestamp) -> Result<Vec<Vec<Task>>, StoreError> {
        let ready = |claim| claims::ready(&self.conn, claim, now);
        claims.iter().map(ready).collect::<rusqlite::Result<_>>().map_err(store_error)
    }

    async fn next_due(
        &mut self,
        handlers: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        claims::next_due(&self.conn, handlers, now).map_err(store_error)
    }

    async fn held_by_handler(&mut self, handlers: &[Arc<str>]) -> Result<Vec<u64>, StoreError> {
        self.held.by_handler(&self.conn, handlers).map_err(store_error)
    }

    async fn handlers(&mut self) -> Result<Vec<String>, StoreError> {
        let handlers = || -> rusqlite::Result<Vec<String>> {
            self.conn
                .prepare("SELECT DISTINCT handler FROM tasks ORDER BY handler")?
                .query_map([], |row| row.get(0))?
                .collect()
        };
        handlers().map_err(store_error)
    }

    async fn open_lease(&mut self, worker: &str, ttl: Duration) -> Result<LeaseToken, StoreError> {
        claims::open_lease(&self.conn, worker, clock::now().plus(ttl)).map_err(store_error)
    }

    async fn renew_lease(&mut self, lease: LeaseToken, ttl: Duration) -> Result<bool, StoreError> {
        claims::renew_lease(&self.conn, lease, clock::now().plus(ttl)).map_err(store_error)
    }

    async fn close_lease(&mut self, lease: LeaseToken) -> Result<(), StoreError> {
        claims::close_lease(&self.conn, lease).map_err(store_error)
    }

    async fn orphans(
        &mut self,
        mine: LeaseToken,
        limit: usize,
    ) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError> {
        let alive = claims::end_expired(&self.conn, mine, clock::now()).map_err(store_error)?;
        Ok(self.held.orphans(&alive, limit))
    }

    async fn held(&mut self, lease: LeaseToken) -> Result<Vec<TaskKey>, StoreError> {
        Ok(self.held.by(lease))
    }

    async fn replace_queue(
        &mut self,
        tasks: &[(Task, Option<LeaseToken>)],
        keys: &[(IdempotencyKey, KeyOwner)],
    ) -> Result<(), StoreError> {
        let now = clock::now();
        let mut replace = || {
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute_batch("DELETE FROM tasks; DELETE FROM idempotency_keys;")?;
            let mut statements = TaskStatements::prepare(&tx, now)?;
            for (task, lease) in tasks {
                statements.insert(task, *lease)?;
            }
            drop(statements);
            for (key, owner) in keys {
                insert_key(&tx, key, owner)?;
            }
            let (head, held) = (head(&tx)?, HeldTasks::load(&tx)?);
            tx.commit()?;
            Ok((head.position, held))
        };
        (self.queue, self.held) = replace().map_err(store_error)?;
        self.backlog = tasks.len() as u64;
        Ok(())
    }
}

fn head(conn: &Connection) -> rusqlite::Result<Head> {
    conn.prepare_cached("SELECT position, hash FROM head")?
        .query_row([], |row| Ok(Head { position: Position(row.get(0)?), hash: Sha256Digest(row.get(1)?) }))
}

/// Writes everything but the tasks; returns about how many bytes.
fn append(tx: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<usize> {
    let mut bytes = 0;
    let mut insert = tx.prepare_cached(&format!(
        "INSERT INTO events ({EVENT_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    ))?;
    for entry in &batch.entries {
        let event = &entry.recorded;
        let meta = wire::encode_meta(&event.meta)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        bytes += event.data.len() + meta.len() + 128;
        insert.execute(params![
            event.position.0,
            event.stream.to_uuid().as_bytes(),
            event.version.0,
            event.event_id.as_bytes(),
            event.kind,
            event.schema_version,
            event.data,
            meta,
            event.recorded_at.as_millis(),
            event.hash.0,
        ])?;
    }
    for blob in &batch.blobs {
        bytes += blob.zstd.len();
        tx.prepare_cached("INSERT OR IGNORE INTO blobs (sha256, bytes, zstd) VALUES (?1, ?2, ?3)")?
            .execute(params![blob.sha256.0, blob.bytes, blob.zstd])?;
    }
    for (key, owner) in &batch.keys {
        insert_key(tx, key, owner)?;
    }
    if let Some(last) = batch.entries.last() {
        tx.prepare_cached("UPDATE head SET position = ?1, hash = ?2")?
            .execute(params![last.recorded.position.0, last.recorded.hash.0])?;
    }
    Ok(bytes)
}

/// Removes what leaves the log; false if a stream is not as presumed.
fn remove(tx: &Transaction<'_>, removal: &Removal) -> rusqlite::Result<bool> {
    for (stream, version) in &removal.streams {
        let n_events = tx
            .prepare_cached("DELETE FROM events WHERE stream = ?1")?
            .execute([stream.to_uuid().as_bytes()])?;
        if n_events as u64 != version.0 {
            return Ok(false);
        }
    }
    for key in &removal.keys {
        tx.prepare_cached("DELETE FROM idempotency_keys WHERE tenant = ?1 AND key = ?2")?
            .execute(params![key.tenant, key.key])?;
    }
    for run in &removal.runs {
        tx.prepare_cached("INSERT INTO archived_runs (last, first, before, hash) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![run.last.0, run.first.0, run.before.0, run.hash.0])?;
    }
    Ok(true)
}

fn insert_key(tx: &Transaction<'_>, key: &IdempotencyKey, owner: &KeyOwner) -> rusqlite::Result<usize> {
    tx.prepare_cached("INSERT INTO idempotency_keys (tenant, key, stream, digest) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![key.tenant, key.key, owner.job.0.as_bytes(), owner.digest.0])
}

/// The statements for tasks, looked up once for a batch.
struct TaskStatements<'a> {
    insert: CachedStatement<'a>,
    update: CachedStatement<'a>,
    delete: CachedStatement<'a>,
    /// Tasks for a later time are delayed.
    now: Timestamp,
}

impl<'a> TaskStatements<'a> {
    fn prepare(tx: &'a Transaction<'_>, now: Timestamp) -> rusqlite::Result<Self> {
        Ok(Self {
            insert: tx.prepare_cached(
                "INSERT INTO tasks (stream, stage, handler, tenant, priority, run_at, delayed, lease)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            update: tx.prepare_cached(
                "UPDATE tasks SET lease = ?5, run_at = coalesce(?6, run_at), delayed = coalesce(?7, delayed)
                 WHERE stream = ?1 AND stage = ?2 AND (?3 OR lease IS ?4)",
            )?,
            delete: tx.prepare_cached(
                "DELETE FROM tasks WHERE stream = ?1 AND stage = ?2 AND (?3 OR lease IS ?4)",
            )?,
            now,
        })
    }

    fn insert(&mut self, task: &Task, lease: Option<LeaseToken>) -> rusqlite::Result<usize> {
        self.insert.execute(params![
            task.key.job.0.as_bytes(),
            task.key.stage.0,
            &*task.handler,
            &*task.tenant,
            task.priority,
            task.run_at.as_millis(),
            task.run_at > self.now,
            lease.map(|lease| lease.0),
        ])
    }

    /// Writes one task; returns how many rows that changed: 0 if it is not held as presumed.
    fn write(&mut self, write: &TaskWrite) -> rusqlite::Result<usize> {
        match write {
            TaskWrite::Insert { task, lease } => self.insert(task, *lease),
            TaskWrite::Move { key, held_by, lease, run_at } => {
                let (anyone, holder) = presumed(*held_by);
                self.update.execute(params![
                    key.job.0.as_bytes(),
                    key.stage.0,
                    anyone,
                    holder,
                    lease.map(|lease| lease.0),
                    run_at.map(Timestamp::as_millis),
                    run_at.map(|run_at| run_at > self.now),
                ])
            }
            TaskWrite::Delete { key, held_by } => {
                let (anyone, holder) = presumed(*held_by);
                self.delete.execute(params![key.job.0.as_bytes(), key.stage.0, anyone, holder])
            }
        }
    }
}

/// Whether the holder does not matter, and else the lease that it must be.
fn presumed(holder: Holder) -> (bool, Option<i64>) {
    match holder {
        Holder::Anyone => (true, None),
        Holder::Nobody => (false, None),
        Holder::Lease(lease) => (false, Some(lease.0)),
    }
}

fn write_key(write: &TaskWrite) -> TaskKey {
    match write {
        TaskWrite::Insert { task, .. } => task.key,
        TaskWrite::Move { key, .. } | TaskWrite::Delete { key, .. } => *key,
    }
}

fn commit_error(error: rusqlite::Error) -> CommitError {
    match error.sqlite_error_code() {
        // What the batch was planned on is not what is stored: plan it again.
        Some(ErrorCode::ConstraintViolation) => CommitError::HeadMoved,
        _ => CommitError::Store(store_error(error)),
    }
}
