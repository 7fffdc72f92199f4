//! Making the read models anew from the log.

use std::path::Path;

use quillwork_app::feed::Feed;
use quillwork_domain::id::Position;

use crate::projector::{ProjectorError, Tables};
use crate::read_models::{DAMAGED, ReadModelError};
use crate::sqlite;

/// What a rebuild did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The last event that the new tables contain.
    pub position: Position,
}

/// Builds new tables beside those at `path`, from the first event to the head of `feed`, then swaps them in.
///
/// Nobody may have the file open. Until the swap the old tables are untouched, and a rebuild that was cut short leaves
/// nothing but a file that the next one removes.
pub async fn rebuild(path: &Path, feed: &Feed) -> Result<Rebuilt, ProjectorError> {
    let new = sqlite::beside(path, ".rebuild");
    sqlite::remove(&new).map_err(ReadModelError::from)?;
    let mut tables = Tables::open(&new).await?;
    let head = feed.head();
    while tables.position() < head {
        let before = tables.position();
        tables.catch_up(feed).await?;
        tracing::info!(position = tables.position().0, head = head.0, "rebuilding the read models");
        if tables.position() == before {
            // The log has no event where the head says there is one.
            return Err(
                ReadModelError::Damaged(format!("the log ends at {before}, before its head {head}")).into()
            );
        }
    }
    let position = tables.position();
    // Closing the last connection moves what is in the write-ahead log into the file.
    tables.close().await?;
    swap(&new, path).map_err(ReadModelError::from)?;
    Ok(Rebuilt { position })
}

/// Puts the file `new` in the place of `path`.
fn swap(new: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::File::open(new)?.sync_all()?;
    // The old write-ahead log must be gone before the new file stands under its name.
    sqlite::remove(path)?;
    std::fs::rename(new, path)?;
    sqlite::remove(&sqlite::beside(path, DAMAGED))?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
