//! The log in one SQLite file: no server, one process.

mod cache;
mod checkpointer;
mod claims;
mod commit;
mod db_file;
mod directory;
mod held;
mod reader;
mod rows;
mod schema;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quillwork_app::ports::store::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::sqlite::db_file::DbFile;

pub use cache::{CACHE_FILE, SqliteCache};
pub use commit::SqliteWriter;
pub use directory::{DataDir, DataDirError};
pub use reader::SqliteReader;

/// The file of the log in its data directory.
pub const LOG_FILE: &str = "log.db";

/// Between two tries to get a lock.
const LOCK_WAIT: Duration = Duration::from_micros(200);

/// Opens the log in a data directory that this process owns, creating or upgrading it as needed.
///
/// The writer goes to the engine; the reader is for everyone.
pub fn open(dir: &DataDir) -> Result<(SqliteWriter, Arc<SqliteReader>), StoreError> {
    let path = dir.path().join(LOG_FILE);
    let mut conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    // A small cache: SQLite walks all of it at every commit.
    configure(
        &conn,
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-2048;",
    )?;
    schema::migrate(&mut conn)?;
    claims::end_leases(&conn).map_err(rows::store_error)?;
    let file = DbFile::open(&path)?;
    let reader = Arc::new(SqliteReader::open(&path, Some(file.clone()))?);
    let checkpointer = checkpointer::Checkpointer::start(&path, file)?;
    let writer = SqliteWriter::new(conn, checkpointer).map_err(rows::store_error)?;
    Ok((writer, reader))
}

/// Opens the log for reading only, without owning its directory: for audits.
pub fn open_reader(dir: &Path) -> Result<Arc<SqliteReader>, StoreError> {
    SqliteReader::open(&dir.join(LOG_FILE), None).map(Arc::new)
}

fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| rows::store_error_at(path, error))?;
    conn.set_prepared_statement_cache_capacity(64);
    // Without it, every bound limit of a range makes SQLite plan the statement again.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(rows::store_error)?;
    conn.busy_handler(Some(wait_for_lock)).map_err(rows::store_error)?;
    configure(&conn, "PRAGMA temp_store=MEMORY;")?;
    Ok(conn)
}

/// Waits for a lock for up to five seconds.
fn wait_for_lock(n_waits: i32) -> bool {
    wait(n_waits, Duration::from_secs(5))
}

/// Waits for a lock a little more, for `patience` in all; false if that is over. The waits of SQLite's own busy timeout
/// get longer and longer, to many times what the checkpointer keeps the writer waiting.
fn wait(n_waits: i32, patience: Duration) -> bool {
    let goes_on = LOCK_WAIT * u32::try_from(n_waits).unwrap_or(u32::MAX) < patience;
    if goes_on {
        std::thread::sleep(LOCK_WAIT);
    }
    goes_on
}

fn configure(conn: &Connection, pragmas: &str) -> Result<(), StoreError> {
    conn.execute_batch(pragmas).map_err(rows::store_error)
}

#[cfg(test)]
mod tests;
