//! Copies the write-ahead log into the database on a thread of its own, so that no commit waits for it.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use quillwork_app::ports::store::StoreError;
use rusqlite::{Connection, OpenFlags};

use crate::sqlite::{configure, connect};

/// Written bytes (estimated) between two looks at the write-ahead log.
const LOOK_AFTER: usize = 8 * 1024 * 1024;

/// Pages in the write-ahead log from which it is made to start over, so that the file stops growing: 32 MiB.
const RESTART_AT: i64 = 8_192;

/// Dropping it copies what is left and ends the thread.
pub(super) struct Checkpointer {
    written: usize,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        configure(&conn, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;")?;
        // What a process that was killed left behind would else stay, and grow with every life.
        report(checkpoint(&conn, "TRUNCATE"));
        let (wake, woken) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("checkpointer".into())
            .spawn(move || run(&conn, &woken))
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

fn run(conn: &Connection, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        match checkpoint(conn, "PASSIVE") {
            // The bulk is copied: starting over holds up the writer only for the rest.
            Ok(done) if done.pages >= RESTART_AT => {
                report(Ok(done));
                report(checkpoint(conn, "RESTART"));
            }
            other => report(other),
        }
    }
    report(checkpoint(conn, "TRUNCATE"));
}

/// What a checkpoint did.
struct Done {
    /// Somebody was in the way, and not everything was done.
    busy: bool,
    /// Pages in the write-ahead log.
    pages: i64,
}

/// Copies what can be copied.
fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Done> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(Done { busy: row.get(0)?, pages: row.get(1)? })
    })
}

fn report(result: rusqlite::Result<Done>) {
    match result {
        Ok(done) => tracing::debug!(done.pages, done.busy, "copied the write-ahead log"),
        Err(error) => {
            tracing::warn!(%error, "cannot copy the write-ahead log into the database; it grows until this succeeds");
        }
    }
}
