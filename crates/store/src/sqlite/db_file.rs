//! The file of the database, beside the handles that SQLite has of it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use quillwork_app::ports::store::StoreError;

/// Writes the file through to the disk, which SQLite does only when a checkpoint has come to the end of the log.
///
/// Closing any handle of a file takes all locks of the process from it, those of SQLite too (POSIX, `fcntl`). So
/// everyone who has connections to the file keeps one of these until they are closed.
#[derive(Clone)]
pub(super) struct DbFile(Arc<File>);

impl DbFile {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path)
            .map_err(|error| StoreError::Unavailable(format!("cannot open {}: {error}", path.display())))?;
        Ok(Self(Arc::new(file)))
    }

    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
}
