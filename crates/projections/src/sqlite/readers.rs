//! Readers: read-only connections, shared.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::read_models::ReadModelError;
use crate::sqlite::connect;

/// Long reads that run at once; more wait their turn.
const MAX_LONG_READS: usize = 4;

/// Cheap to clone. As many connections are open as ever read at once: one for each thread and each long read.
#[derive(Clone)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// Of the file at `path`, which exists. It is opened when it is read.
    pub(crate) fn new(path: &Path) -> Self {
        let turns = Arc::new(Semaphore::new(MAX_LONG_READS));
        Self { path: path.to_owned(), idle: Arc::default(), turns }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a few rows where it is called: that takes microseconds, less than it takes to have another thread do it.
    /// Readers wait for nobody, and nobody for them.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadModelError>,
    ) -> Result<T, ReadModelError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let result = read(&connection);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        result
    }

    /// Reads what may take long on a thread that may block.
    pub(crate) async fn read_long<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadModelError> + Send + 'static,
    ) -> Result<T, ReadModelError> {
        let cut_off = |_| ReadModelError::File(std::io::ErrorKind::Interrupted.into());
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| cut_off(()))?;
        let readers = self.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            readers.read(read)
        })
        .await
        .map_err(|_| cut_off(()))?
    }
}
