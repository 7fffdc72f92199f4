//! Copies the write-ahead log into the database on a thread of its own, so that no commit waits for it.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use quillwork_app::ports::store::StoreError;
use rusqlite::{Connection, OpenFlags};

use crate::sqlite::db_file::DbFile;
use crate::sqlite::{configure, connect, wait, wait_for_lock};

/// Written bytes (estimated) between two looks at the write-ahead log.
const LOOK_AFTER: usize = 8 * 1024 * 1024;

/// Pages in the write-ahead log from which it is made to start over, so that the file stops growing: 32 MiB.
const RESTART_AT: i64 = 8_192;

/// What is left to copy when the log starts over, about, and how often its bulk is copied before to get there. Meanwhile
/// more is written, but every pass takes less time than the one before.
const SHORT_REST: i64 = 128;
const MAX_PASSES: usize = 5;

/// How long starting over may wait for the writer, and keep him waiting for readers, if it can be tried again later.
const PATIENCE: Duration = Duration::from_millis(10);

/// From so many pages on it must not be put off any more: 256 MiB.
const MUST_RESTART_AT: i64 = 65_536;

/// Dropping it copies what is left and ends the thread.
pub(super) struct Checkpointer {
    written: usize,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, file: DbFile) -> Result<Self, StoreError> {
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        configure(&conn, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;")?;
        // What a process that was killed left behind would else stay, and grow with every life.
        report(checkpoint(&conn, "TRUNCATE"));
        let (wake, woken) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("checkpointer".into())
            .spawn(move || Copier { conn, file }.run(&woken))
            .map_err(|error| StoreError::Unavailable(format!("cannot start the checkpointer: {error}")))?;
        Ok(Self { written: 0, wake: Some(wake), thread: Some(thread) })
    }

    /// Notes that about this many bytes were committed.
    pub(super) fn note(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= LOOK_AFTER {
            self.written = 0;
            // Full means that it is awake already.
            let _ = self.wake.as_ref().map(|wake| wake.try_send(()));
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

/// What the thread has. The file is closed last.
struct Copier {
    conn: Connection,
    file: DbFile,
}

impl Copier {
    fn run(&self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            match checkpoint(&self.conn, "PASSIVE") {
                Ok(done) if done.pages >= RESTART_AT => {
                    report(Ok(done));
                    report(self.start_over(done));
                }
                other => report(other),
            }
        }
        report(checkpoint(&self.conn, "TRUNCATE"));
    }

    /// Makes the next commit write from the beginning of the log. That holds up the writer for what is not copied yet,
    /// and until all that was copied is on the disk.
    fn start_over(&self, mut done: Done) -> rusqlite::Result<Done> {
        for _ in 0..MAX_PASSES {
            // If this fails, the same fails for SQLite in the end, and it says so.
            let _ = self.file.sync();
            let before = std::mem::replace(&mut done, checkpoint(&self.conn, "PASSIVE")?);
            if done.copied - before.copied < SHORT_REST {
                break;
            }
        }
        if done.pages < MUST_RESTART_AT {
            self.conn.busy_handler(Some(|n_waits| wait(n_waits, PATIENCE)))?;
        }
        let restarted = checkpoint(&self.conn, "RESTART");
        self.conn.busy_handler(Some(wait_for_lock))?;
        restarted
    }
}

/// What a checkpoint did.
#[derive(Clone, Copy)]
struct Done {
    /// Somebody was in the way, and not everything was done.
    busy: bool,
    /// Pages in the write-ahead log.
    pages: i64,
    /// How many of them are in the database.
    copied: i64,
}

/// Copies what can be copied.
fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Done> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(Done { busy: row.get(0)?, pages: row.get(1)?, copied: row.get(2)? })
    })
}

fn report(result: rusqlite::Result<Done>) {
    match result {
        Ok(done) => tracing::debug!(done.pages, done.copied, done.busy, "copied the write-ahead log"),
        Err(error) => {
            tracing::warn!(%error, "cannot copy the write-ahead log into the database; it grows until this succeeds");
        }
    }
}
