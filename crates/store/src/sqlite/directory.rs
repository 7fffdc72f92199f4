//! The data directory, and the rule that one process owns it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The directory is not ours to use.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("cannot create the data directory {path}: {source}; choose another with --data-dir")]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "cannot write to the data directory {path}: {source}; check its permissions and its file system, or choose another with --data-dir"
    )]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "the data directory {path} is in use by process {owner}; one process owns it. Talk to that one (`quillwork job …`), stop it, or choose another with --data-dir"
    )]
    InUse { path: PathBuf, owner: String },
}

/// A data directory that this process owns until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The operating system lets go of the lock when the process ends, however it ends.
    lock: File,
}

impl DataDir {
    /// Creates the directory if need be, and takes it.
    pub fn own(path: &Path) -> Result<Self, DataDirError> {
        fs::create_dir_all(path).map_err(|source| DataDirError::Create { path: path.to_owned(), source })?;
        let unwritable = |source| DataDirError::Write { path: path.to_owned(), source };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The owner's number is a courtesy.
                let _ = lock.read_to_string(&mut owner);
                let owner =
                    if owner.trim().is_empty() { "unknown".to_owned() } else { owner.trim().to_owned() };
                return Err(DataDirError::InUse { path: path.to_owned(), owner });
            }
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        match written {
            // A full disk must not keep anyone from starting; the lock itself is held.
            Err(error) if error.kind() != io::ErrorKind::StorageFull => return Err(unwritable(error)),
            Ok(()) | Err(_) => {}
        }
        Ok(Self { path: path.to_owned(), lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataDir {
    /// A program that another thread is starting has the file, too, until it runs; closing ours would leave it locked.
    fn drop(&mut self) {
        // Without it the lock ends a moment later.
        let _ = self.lock.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_directory_is_free_while_a_starting_program_still_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let owner = DataDir::own(dir.path()).unwrap();
        let inherited = owner.lock.try_clone().unwrap();
        drop(owner);
        DataDir::own(dir.path()).unwrap();
        drop(inherited);
    }
}
