//! Readers: a few read-only connections, shared.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Happened, Head, IdempotencyKey, KeyOwner, LeaseToken, LogReader, StoreError, Task, TaskKey,
};
use quillwork_domain::archive::Run;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::Semaphore;

use crate::sqlite::claims::rows_limit;
use crate::sqlite::db_file::DbFile;
use crate::sqlite::rows::{self, EVENT_COLUMNS, HAPPENED_COLUMNS, TASK_COLUMNS, store_error};
use crate::sqlite::{configure, connect};

/// Reads that run at once; more wait their turn.
const MAX_READS: usize = 4;

/// A blob that says it is larger is damaged.
const MAX_BLOB_BYTES: u64 = 1 << 30;

pub struct SqliteReader {
    path: PathBuf,
    pool: Arc<Pool>,
    turns: Arc<Semaphore>,
}

struct Pool {
    idle: Mutex<Vec<Connection>>,
    /// Set if it is open in this process; closed after the connections.
    _file: Option<DbFile>,
}

impl SqliteReader {
    /// Opens the file at once, to fail early.
    pub(super) fn open(path: &Path, file: Option<DbFile>) -> Result<Self, StoreError> {
        let conn = reading(path)?;
        head(&conn).map_err(store_error)?;
        Ok(Self {
            path: path.to_owned(),
            pool: Arc::new(Pool { idle: Mutex::new(vec![conn]), _file: file }),
            turns: Arc::new(Semaphore::new(MAX_READS)),
        })
    }

    /// Runs one read on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ended = |_| StoreError::Unavailable("the process is ending".into());
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| ended(()))?;
        let (path, pool) = (self.path.clone(), self.pool.clone());
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let waiting = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = match waiting {
                Some(conn) => conn,
                None => reading(&path)?,
            };
            let result = read(&conn).map_err(store_error);
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            result
        })
        .await
        .map_err(|error| StoreError::Unavailable(format!("a read was cut off: {error}")))?
    }
}

fn reading(path: &Path) -> Result<Connection, StoreError> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    configure(&conn, "PRAGMA query_only=1; PRAGMA cache_size=-1024;")?;
    Ok(conn)
}

fn head(conn: &Connection) -> rusqlite::Result<Head> {
    conn.query_row("SELECT position, hash FROM head", [], |row| {
        Ok(Head { position: Position(row.get(0)?), hash: Sha256Digest(row.get(1)?) })
    })
}

#[async_trait]
impl LogReader for SqliteReader {
    async fn head(&self) -> Result<Head, StoreError> {
        self.read(head).await
    }

    async fn stream(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.read(move |conn| {
            conn.prepare_cached(&format!(
                "SELECT {EVENT_COLUMNS} FROM events WHERE stream = ?1 AND version > ?2 ORDER BY version LIMIT ?3"
            ))?
            .query_map(params![stream.to_uuid().as_bytes(), after.0, rows_limit(limit)], rows::recorded)?
            .collect()
        })
        .await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.read(move |conn| {
            conn.prepare_cached(&format!(
                "SELECT {EVENT_COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2"
            ))?
            .query_map(params![after.0, rows_limit(limit)], rows::recorded)?
            .collect()
        })
        .await
    }

    async fn replay(&self, after: Position, limit: usize) -> Result<Vec<Happened>, StoreError> {
        self.read(move |conn| {
            conn.prepare_cached(&format!(
                "SELECT {HAPPENED_COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2"
            ))?
            .query_map(params![after.0, rows_limit(limit)], rows::happened)?
            .collect()
        })
        .await
    }

    async fn archived_runs(&self, after: Position, limit: usize) -> Result<Vec<Run>, StoreError> {
        self.read(move |conn| {
            conn.prepare_cached(
                "SELECT first, last, before, hash FROM archived_runs WHERE last > ?1 ORDER BY last LIMIT ?2",
            )?
            .query_map(params![after.0, rows_limit(limit)], |row| {
                let (first, last) = (Position(row.get(0)?), Position(row.get(1)?));
                let (before, hash) = (Sha256Digest(row.get(2)?), Sha256Digest(row.get(3)?));
                Ok(Run { first, last, before, hash })
            })?
            .collect()
        })
        .await
    }

    async fn blob(&self, sha256: Sha256Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let stored: Option<(u64, Vec<u8>)> = self
            .read(move |conn| {
                conn.prepare_cached("SELECT bytes, zstd FROM blobs WHERE sha256 = ?1")?
                    .query_row([sha256.0], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .await?;
        let Some((bytes, zstd)) = stored else { return Ok(None) };
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
        self.read(move |conn| {
            let (stream, stage) = after.map_or((vec![], 0), |key| (key.job.0.as_bytes().to_vec(), key.stage.0));
            conn.prepare_cached(&format!(
                "SELECT {TASK_COLUMNS} FROM tasks WHERE (stream, stage) > (?1, ?2) ORDER BY stream, stage LIMIT ?3"
            ))?
            .query_map(params![stream, stage, rows_limit(limit)], rows::task)?
            .collect()
        })
        .await
    }

    async fn keys(
        &self,
        after: Option<IdempotencyKey>,
        limit: usize,
    ) -> Result<Vec<(IdempotencyKey, KeyOwner)>, StoreError> {
        self.read(move |conn| {
            let after = after.unwrap_or(IdempotencyKey { tenant: String::new(), key: String::new() });
            conn.prepare_cached(
                "SELECT tenant, key, stream, digest FROM idempotency_keys
                 WHERE (tenant, key) > (?1, ?2) ORDER BY tenant, key LIMIT ?3",
            )?
            .query_map(params![after.tenant, after.key, rows_limit(limit)], |row| {
                let key = IdempotencyKey { tenant: row.get(0)?, key: row.get(1)? };
                Ok((key, rows::owner(row, 2)?))
            })?
            .collect()
        })
        .await
    }

    async fn blobs(
        &self,
        after: Option<Sha256Digest>,
        limit: usize,
    ) -> Result<Vec<Sha256Digest>, StoreError> {
        self.read(move |conn| {
            let after = after.map_or(vec![], |digest| digest.0.to_vec());
            conn.prepare_cached("SELECT sha256 FROM blobs WHERE sha256 > ?1 ORDER BY sha256 LIMIT ?2")?
                .query_map(params![after, rows_limit(limit)], |row| row.get(0).map(Sha256Digest))?
                .collect()
        })
        .await
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.read(|conn| {
            let lines: Vec<String> = conn
                .prepare("PRAGMA integrity_check(100)")?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(lines.into_iter().filter(|line| line != "ok").collect())
        })
        .await
    }
}
