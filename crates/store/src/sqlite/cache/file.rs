//! The file of the cache: opened when it is needed, made anew when it is damaged.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quillwork_app::ports::store::StoreError;
use rusqlite::{Connection, OpenFlags};

use crate::sqlite::cache::entries::Entries;
use crate::sqlite::rows::store_error;
use crate::sqlite::{configure, connect};

/// Marks the file as ours: "Qwca".
const APPLICATION_ID: i64 = 0x5177_6361;

/// A file with another schema is thrown away: it holds copies only.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = include_str!("../../../../../migrations/sqlite/cache/schema.sql");

pub(super) struct CacheFile {
    path: PathBuf,
    max_bytes: u64,
    entries: Option<Entries>,
    /// The log says that there is trouble.
    is_announced: bool,
}

impl CacheFile {
    pub(super) fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes, entries: None, is_announced: false }
    }

    /// What `work` returns, if the file can be used; if it turns out to be damaged, on a new one.
    pub(super) fn work<T>(&mut self, work: impl Fn(&mut Entries) -> rusqlite::Result<T>) -> Option<T> {
        let result = match self.attempt(&work) {
            Err(StoreError::Corrupt(damage)) => {
                self.move_aside(&damage);
                self.attempt(&work)
            }
            other => other,
        };
        match result {
            Ok(done) => {
                if std::mem::take(&mut self.is_announced) {
                    tracing::info!(file = %self.path.display(), "the cache works again");
                }
                Some(done)
            }
            Err(error) => {
                // Opened anew the next time: whatever state it is in is gone with it.
                self.entries = None;
                if !std::mem::replace(&mut self.is_announced, true) {
                    tracing::warn!(
                        file = %self.path.display(), %error,
                        "the cache does not work; until it does, nothing is kept on disk for later",
                    );
                }
                None
            }
        }
    }

    fn attempt<T>(&mut self, work: impl Fn(&mut Entries) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let entries = match &mut self.entries {
            Some(entries) => entries,
            None => self.entries.insert(open(&self.path, self.max_bytes)?),
        };
        work(entries).map_err(store_error)
    }

    /// Keeps the damaged file for whoever wants to know, in place of an earlier one.
    fn move_aside(&mut self, damage: &str) {
        self.entries = None;
        let aside = suffixed(&self.path, ".damaged");
        tracing::warn!(
            file = %self.path.display(), damage, moved_to = %aside.display(),
            "the cache is damaged; it begins anew",
        );
        for suffix in ["-wal", "-shm"] {
            remove(&suffixed(&self.path, suffix));
        }
        if let Err(error) = fs::rename(&self.path, &aside) {
            tracing::warn!(file = %self.path.display(), %error, "the damaged cache cannot be moved");
        }
    }
}

fn open(path: &Path, max_bytes: u64) -> Result<Entries, StoreError> {
    let mode = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut conn = connect(path, mode)?;
    let version = |conn: &Connection, name: &str| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(store_error)
    };
    let is_new = version(&conn, "schema_version")? == 0;
    let is_current = version(&conn, "user_version")? == SCHEMA_VERSION
        && version(&conn, "application_id")? == APPLICATION_ID;
    if !is_new && !is_current {
        drop(conn);
        // Nothing else is ever put here.
        for suffix in ["-wal", "-shm", ""] {
            remove(&suffixed(path, suffix));
        }
        conn = connect(path, mode)?;
    }
    // A power failure may cost the last values, never the file.
    configure(&conn, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-2048;")?;
    if !is_current {
        let tx = conn.transaction().map_err(store_error)?;
        tx.execute_batch(SCHEMA).map_err(store_error)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(store_error)?;
        tx.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(store_error)?;
        tx.commit().map_err(store_error)?;
    }
    Entries::new(conn, max_bytes).map_err(store_error)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %path.display(), %error, "a file of the cache cannot be removed");
        }
        Ok(()) | Err(_) => {}
    }
}
