//! The read models in an SQLite file: all of its SQL is here and in the files below.

pub(crate) mod content;
mod list;
mod query;
mod readers;
pub(crate) mod usage;
mod write;
mod writer;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use quillwork_app::ports::store::Head;
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::payload::Sha256Digest;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, TransactionBehavior, params};
use uuid::Uuid;

pub(crate) use list::jobs;
pub(crate) use query::{due, finished, job, queues, stats, timeline};
pub(crate) use readers::Readers;
pub(crate) use writer::Writer;

use crate::backend::SCHEMA_VERSION;
use crate::changes::Checkpoint;
use crate::job_row::JobRow;
use crate::job_summary::JobSummary;
use crate::read_models::ReadModelError;

const SCHEMA: &str = include_str!("../../../migrations/sqlite/read/schema.sql");
const INDEXES: &str = include_str!("../../../migrations/sqlite/read/indexes.sql");

/// When new tables get the indexes that lists need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indexes {
    AtOnce,
    /// Once the tables are full, which takes less than keeping them up to date meanwhile.
    Later,
}

/// A power failure may lose the last commits, never tear them; the log has what they contained. SQLite walks its whole
/// page cache at every commit, so it is small.
const WRITING: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2048;";

/// Connects the one writer; makes the file and its tables if there are none.
fn open_writer(path: &Path, indexes: Indexes) -> Result<Connection, ReadModelError> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    connection.execute_batch(WRITING)?;
    match user_version(&connection)? {
        SCHEMA_VERSION => Ok(connection),
        0 => {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been first.
            if user_version(&tx)? == 0 {
                tx.execute_batch(SCHEMA)?;
                if indexes == Indexes::AtOnce {
                    tx.execute_batch(INDEXES)?;
                }
                tx.execute(
                    "INSERT INTO checkpoint (id, position, hash) VALUES (1, 0, ?1)",
                    [Head::EMPTY.hash.to_string()],
                )?;
                tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            tx.commit()?;
            Ok(connection)
        }
        found => Err(ReadModelError::OtherVersion { found, expected: SCHEMA_VERSION }),
    }
}

fn connect(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// How far the rows are.
fn checkpoint(connection: &Connection) -> Result<Checkpoint, ReadModelError> {
    let (position, hash): (u64, String) =
        connection.query_row("SELECT position, hash FROM checkpoint WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let hash = Sha256Digest::from_str(&hash)
        .map_err(|_| ReadModelError::Damaged("the checkpoint's hash is not a digest".to_owned()))?;
    Ok(Checkpoint { position: Position(position), hash })
}

/// The columns that [`summary`] reads, in order.
const JOB_COLUMNS: &str = "job_summary.submitted_position, id, status, pipeline, tenant, topic, details";

fn summary(row: &Row<'_>) -> Result<JobSummary, ReadModelError> {
    let columns = JobRow {
        submitted_position: Position(row.get(0)?),
        id: JobId(Uuid::from_bytes(row.get(1)?)),
        status: row.get(2)?,
        pipeline: row.get(3)?,
        tenant: row.get(4)?,
        topic: row.get(5)?,
        details: row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?,
    };
    columns.job()
}

/// The row of one job.
fn row_of(connection: &Connection, id: JobId) -> Result<Option<JobSummary>, ReadModelError> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {JOB_COLUMNS} FROM job_summary WHERE id = ?1"))?;
    let mut rows = select.query(params![id.0.as_bytes()])?;
    rows.next()?.map(summary).transpose()
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

/// True if the error says that the file cannot be used by anyone.
pub(crate) fn is_unusable(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
