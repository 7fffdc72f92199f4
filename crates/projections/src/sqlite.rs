//! The read models in an SQLite file: all of its SQL is here and in the files below.

mod query;
mod write;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use quillwork_app::ports::store::Head;
use quillwork_domain::id::Position;
use quillwork_domain::payload::Sha256Digest;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

pub(crate) use query::{due, finished, job, jobs, queues, stats, timeline};
pub(crate) use write::{rows, write};

use crate::backend::SCHEMA_VERSION;
use crate::changes::Checkpoint;
use crate::read_models::ReadModelError;

const SCHEMA: &str = include_str!("../../../migrations/sqlite/read/schema.sql");

/// SQLite's codes for a file that is damaged, or is no database.
const UNUSABLE: [&str; 2] = ["11", "26"];

/// Connects the one writer; makes the file and its tables if there are none.
pub(crate) async fn open_writer(path: &Path) -> Result<SqliteConnection, ReadModelError> {
    let options = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A power failure may lose the last commits, never tear them; the log has what they contained.
        .synchronous(SqliteSynchronous::Normal)
        // SQLite walks its whole page cache at every commit.
        .pragma("cache_size", "-4096");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    match user_version(&mut connection).await? {
        SCHEMA_VERSION => Ok(connection),
        0 => {
            let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
            // Another process may have been first.
            if user_version(&mut tx).await? == 0 {
                sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
                sqlx::query("INSERT INTO checkpoint (id, position, hash) VALUES (1, 0, ?1)")
                    .bind(Head::EMPTY.hash.to_string())
                    .execute(&mut *tx)
                    .await?;
                let version = format!("PRAGMA user_version = {SCHEMA_VERSION}");
                sqlx::query(AssertSqlSafe(version)).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(connection)
        }
        found => Err(ReadModelError::OtherVersion { found, expected: SCHEMA_VERSION }),
    }
}

/// Connects readers; the file exists.
pub(crate) fn open_readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options(path).read_only(true))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5))
}

async fn user_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA user_version").fetch_one(connection).await
}

/// How far the rows are.
pub(crate) async fn checkpoint(connection: &mut SqliteConnection) -> Result<Checkpoint, ReadModelError> {
    let row = sqlx::query("SELECT position, hash FROM checkpoint WHERE id = 1").fetch_one(connection).await?;
    let hash = Sha256Digest::from_str(row.try_get("hash")?)
        .map_err(|_| ReadModelError::Damaged("the checkpoint's hash is not a digest".to_owned()))?;
    Ok(Checkpoint { position: Position(from_i64(row.try_get("position")?)), hash })
}

/// Removes the file and what belongs to it.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    for path in [path.to_path_buf(), beside(path, "-wal"), beside(path, "-shm")] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// `path` with `suffix` after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// True if the code of an error says that the file cannot be used by anyone.
pub(crate) fn is_unusable(code: Option<&str>) -> bool {
    // The low byte of an extended code is the code.
    let primary = code.and_then(|code| code.parse::<u32>().ok()).map(|code| (code & 0xff).to_string());
    primary.is_some_and(|code| UNUSABLE.contains(&code.as_str()))
}

/// SQLite's integers are signed. What is stored here is never beyond their range.
fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn from_i64(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
