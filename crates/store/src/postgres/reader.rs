//! Readers: a pool of connections, shared.

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Happened, Head, IdempotencyKey, KeyOwner, LeaseToken, LogReader, StoreError, Task, TaskKey,
};
use quillwork_domain::archive::Run;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgRow};
use uuid::Uuid;

use crate::postgres::copied;
use crate::postgres::place::Place;
use crate::postgres::rows::{self, event_columns, rows_limit, signed, task_columns, unsigned};
use crate::postgres::session::Statement;

/// From so many events on copying them is faster, although it has no prepared statement.
const MANY: usize = 256;

/// A blob that says it is larger is damaged.
const MAX_BLOB_BYTES: u64 = 1 << 30;

pub(super) const HEAD: &str = "SELECT h.position, h.hash FROM quillwork.head h WHERE h.id = 1";

pub(super) const STREAM: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM quillwork.events e WHERE e.stream = $1 AND e.version > $2 ORDER BY e.version LIMIT $3"
);

pub(super) const READ_ALL: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM quillwork.events e WHERE e.position > $1 ORDER BY e.position LIMIT $2"
);

pub(super) const READ_KINDS: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM quillwork.events e WHERE e.position > $1 AND e.position <= $2 AND e.kind = ANY($3) ORDER BY e.position LIMIT $4"
);

pub(super) const ARCHIVED_RUNS: &str = "SELECT a.first, a.last, a.before, a.hash FROM quillwork.archived_runs a WHERE a.last > $1 ORDER BY a.last LIMIT $2";

pub(super) const BLOB: &str = "SELECT b.bytes, b.zstd FROM quillwork.blobs b WHERE b.sha256 = $1";

pub(super) const TASKS: &str = concat!(
    "SELECT ",
    task_columns!(),
    ", t.lease FROM quillwork.tasks t WHERE (t.stream, t.stage) > ($1, $2) ORDER BY t.stream, t.stage LIMIT $3"
);

pub(super) const KEYS: &str = "SELECT k.tenant, k.key, k.stream, k.digest FROM quillwork.idempotency_keys k
     WHERE (k.tenant, k.key) > ($1, $2) ORDER BY k.tenant, k.key LIMIT $3";

pub(super) const BLOBS: &str =
    "SELECT b.sha256 FROM quillwork.blobs b WHERE b.sha256 > $1 ORDER BY b.sha256 LIMIT $2";

/// What must be so at every moment, in one look.
const CHECK: &str = "SELECT h.position, h.backlog, h.queue,
       (SELECT count(*) FROM quillwork.tasks),
       coalesce((SELECT max(e.position) FROM quillwork.events e), 0),
       coalesce((SELECT e.hash = h.hash FROM quillwork.events e WHERE e.position = h.position), h.position = 0),
       (SELECT coalesce(sum(checksum_failures), 0)::bigint FROM pg_stat_database WHERE datname = current_database())
     FROM quillwork.head h WHERE h.id = 1";

pub struct PostgresReader {
    place: Place,
    pool: PgPool,
}

impl PostgresReader {
    pub(super) fn new(place: Place, pool: PgPool) -> Self {
        Self { place, pool }
    }

    /// Ends its connections and those of the read models.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn rows(&self, statement: Statement<'static>) -> Result<Vec<PgRow>, StoreError> {
        let read = if self.place.pooled {
            // To its end, also when whoever asked has gone: a transaction that is dropped while it begins stays open on
            // its connection, and the next user of the pool would find himself in it.
            let reading = tokio::spawn(in_transaction(self.pool.clone(), statement));
            reading.await.unwrap_or_else(|error| Err(sqlx::Error::Io(std::io::Error::other(error))))
        } else {
            statement.fetch_all(&self.pool).await
        };
        read.map_err(|error| self.place.error(error))
    }

    async fn all<T>(
        &self,
        statement: Statement<'static>,
        shape: impl Fn(&PgRow) -> sqlx::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.rows(statement).await?;
        rows.iter().map(shape).collect::<sqlx::Result<_>>().map_err(|error| self.place.error(error))
    }

    async fn the<T>(
        &self,
        statement: Statement<'static>,
        shape: impl Fn(&PgRow) -> sqlx::Result<T>,
    ) -> Result<T, StoreError> {
        let found = self.all(statement, shape).await?.pop();
        found.ok_or_else(|| {
            StoreError::Corrupt(format!("the log in PostgreSQL at {} has no head", self.place.name))
        })
    }
}

/// A statement is prepared and run in two steps, and outside of a transaction a pool may let each go to another server
/// connection.
async fn in_transaction(pool: PgPool, statement: Statement<'static>) -> sqlx::Result<Vec<PgRow>> {
    let mut tx = pool.begin().await?;
    let rows = statement.persistent(false).fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

#[async_trait]
impl LogReader for PostgresReader {
    async fn head(&self) -> Result<Head, StoreError> {
        self.the(sqlx::query(HEAD), |row| rows::head(row, 0)).await
    }

    async fn stream(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let query = sqlx::query(STREAM).bind(stream.to_uuid()).bind(signed(after.0)).bind(rows_limit(limit));
        self.all(query, |row| rows::recorded(row, 0)).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        if limit >= MANY {
            return copied::events(&self.pool, after, limit).await.map_err(|error| self.place.error(error));
        }
        let query = sqlx::query(READ_ALL).bind(signed(after.0)).bind(rows_limit(limit));
        self.all(query, |row| rows::recorded(row, 0)).await
    }

    async fn replay(&self, after: Position, limit: usize) -> Result<Vec<Happened>, StoreError> {
        copied::happened(&self.pool, after, limit).await.map_err(|error| self.place.error(error))
    }

    async fn read_kinds(
        &self,
        kinds: &[String],
        (after, until): (Position, Position),
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let query = sqlx::query(READ_KINDS)
            .bind(signed(after.0))
            .bind(signed(until.0))
            .bind(kinds.to_vec())
            .bind(rows_limit(limit));
        self.all(query, |row| rows::recorded(row, 0)).await
    }

    async fn archived_runs(&self, after: Position, limit: usize) -> Result<Vec<Run>, StoreError> {
        let query = sqlx::query(ARCHIVED_RUNS).bind(signed(after.0)).bind(rows_limit(limit));
        let shape = |row: &PgRow| {
            let (first, last) = (Position(unsigned(row, 0)?), Position(unsigned(row, 1)?));
            Ok(Run { first, last, before: rows::digest(row, 2)?, hash: rows::digest(row, 3)? })
        };
        self.all(query, shape).await
    }

    async fn blob(&self, sha256: Sha256Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let stored = |row: &PgRow| Ok((unsigned(row, 0)?, row.try_get::<Vec<u8>, _>(1)?));
        let found = self.all(sqlx::query(BLOB).bind(sha256.0), stored).await?.pop();
        let Some((bytes, zstd)) = found else { return Ok(None) };
        let damaged = |what: &str| StoreError::Corrupt(format!("blob {sha256} {what}"));
        if bytes > MAX_BLOB_BYTES {
            return Err(damaged("has an impossible size"));
        }
        let capacity = usize::try_from(bytes).map_err(|_| damaged("has an impossible size"))?;
        let raw = tokio::task::spawn_blocking(move || zstd::bulk::decompress(&zstd, capacity))
            .await
            .map_err(|error| StoreError::Unavailable(format!("a read was cut off: {error}")))?
            .map_err(|_| damaged("cannot be decompressed"))?;
        Ok(Some(raw))
    }

    async fn tasks(
        &self,
        after: Option<TaskKey>,
        limit: usize,
    ) -> Result<Vec<(Task, Option<LeaseToken>)>, StoreError> {
        let (stream, stage) = after.map_or((Uuid::nil(), -1), |key| (key.job.0, key.stage.0.into()));
        let query = sqlx::query(TASKS).bind(stream).bind::<i32>(stage).bind(rows_limit(limit));
        self.all(query, |row| Ok((rows::task(row, 0)?, rows::lease(row, 6)?))).await
    }

    async fn keys(
        &self,
        after: Option<IdempotencyKey>,
        limit: usize,
    ) -> Result<Vec<(IdempotencyKey, KeyOwner)>, StoreError> {
        let after = after.unwrap_or(IdempotencyKey { tenant: String::new(), key: String::new() });
        let query = sqlx::query(KEYS).bind(after.tenant).bind(after.key).bind(rows_limit(limit));
        let shape = |row: &PgRow| {
            let key = IdempotencyKey { tenant: row.try_get(0)?, key: row.try_get(1)? };
            Ok((key, rows::owner(row, 2)?))
        };
        self.all(query, shape).await
    }

    async fn blobs(
        &self,
        after: Option<Sha256Digest>,
        limit: usize,
    ) -> Result<Vec<Sha256Digest>, StoreError> {
        let after = after.map_or(Vec::new(), |digest| digest.0.to_vec());
        let query = sqlx::query(BLOBS).bind(after).bind(rows_limit(limit));
        self.all(query, |row| rows::digest(row, 0)).await
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.the(sqlx::query(CHECK), |row| {
            let [position, backlog, queue, n_tasks, last]: [i64; 5] =
                [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?];
            let same_hash: bool = row.try_get(5)?;
            let n_failures: i64 = row.try_get(6)?;
            let mut wrong = Vec::new();
            if position != last {
                wrong.push(format!("the head is at {position}, but the last event is at {last}"));
            }
            if !same_hash {
                wrong.push(format!("the head does not have the hash of event {position}"));
            }
            if backlog != n_tasks {
                wrong.push(format!(
                    "the head counts {backlog} tasks, but there are {n_tasks}; run `quillwork rebuild`"
                ));
            }
            if queue > position {
                wrong.push(format!("the queue changed at {queue}, after the head at {position}"));
            }
            if n_failures > 0 {
                wrong.push(format!("the server counts {n_failures} pages whose checksum is wrong"));
            }
            Ok(wrong)
        })
        .await
    }
}
