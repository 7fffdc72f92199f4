//! Making the read models anew from the log.

use std::path::Path;
use std::time::Duration;

use quillwork_app::feed::{Feed, FeedError, Page};
use quillwork_domain::id::Position;
use sqlx::postgres::PgPool;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::backend::Writer;
use crate::postgres::{self, Database, PgReadConfig, Turn};
use crate::projector::ProjectorError;
use crate::read_models::{DAMAGED, ReadModelError};
use crate::sqlite::{self, Indexes};
use crate::tables::{PAGE_EVENTS, Tables};

/// Rows of open jobs that wait in memory: with room for many, most jobs are written once.
const OPEN_ROWS: usize = 50_000;

/// Pages that wait to be folded.
const PAGES_AHEAD: usize = 2;

/// How often a long rebuild says how far it is.
const SAY: Duration = Duration::from_secs(5);

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
    let (writer, checkpoint) =
        sqlite::Writer::open(&new, Indexes::Later).await.map_err(ProjectorError::from)?;
    let mut tables = Tables::filling(Writer::Sqlite(writer), checkpoint, OPEN_ROWS);
    fill(&mut tables, feed, feed.head()).await?;
    tables.settle().await?;
    let position = tables.position();
    // Closing the last connection moves what is in the write-ahead log into the file.
    tables.close().await?;
    swap(&new, path).map_err(ReadModelError::from)?;
    Ok(Rebuilt { position })
}

/// Builds new tables beside those of this version in the database of `pool`, from the first event to the end of the
/// log, then swaps them in.
///
/// Others may be at work: API processes answer from the old tables until the swap, and the projector that has the turn
/// writes them until shortly before, then goes on with the new ones. A rebuild that was cut short leaves nothing but a
/// schema that the next one drops.
pub async fn rebuild_postgres(
    pool: PgPool,
    config: PgReadConfig,
    feed: &Feed,
) -> Result<Rebuilt, ProjectorError> {
    let live = Database::live(pool, config);
    let (new, old) = (live.beside("_rebuild"), live.beside("_old"));
    postgres::schema::create(&live).await?;
    postgres::schema::drop(&old).await?;
    postgres::schema::create_anew(&new).await?;
    let (building, checkpoint) = postgres::lease::take_over(&new).await?;
    let mut tables = Tables::filling(Writer::Postgres(building), checkpoint, OPEN_ROWS);
    approach(&mut tables, feed).await?;
    tables.settle().await?;
    postgres::schema::analyze(&new).await?;
    approach(&mut tables, feed).await?;
    loop {
        // Nobody writes the old tables from here on; what is in them must be in the new ones too, so that readers are
        // not set back.
        let (turn, checkpoint) = postgres::lease::take_over(&live).await?;
        if let Some(position) = finish(&mut tables, feed, (turn, checkpoint.position), (&new, &old)).await? {
            if let Err(error) = postgres::schema::drop(&old).await {
                tracing::warn!(
                    reason = crate::projector::chain(&error),
                    schema = old.schema(),
                    "the old tables are left for the next rebuild to drop"
                );
            }
            return Ok(Rebuilt { position });
        }
        tracing::info!("a projector took its turn back before the swap; trying again");
    }
}

/// Takes in the log, which grows, but for what is left to one page.
async fn approach(tables: &mut Tables, feed: &Feed) -> Result<(), ProjectorError> {
    loop {
        let head = feed.reader().head().await.map_err(ReadModelError::from)?;
        if head.position.0 < tables.position().0 + PAGE_EVENTS as u64 {
            return Ok(());
        }
        fill(tables, feed, head.position).await?;
    }
}

/// Fills up what is missing and swaps; None if the turn was lost meanwhile.
async fn finish(
    tables: &mut Tables,
    feed: &Feed,
    (turn, reached): (Turn, Position),
    (new, old): (&Database, &Database),
) -> Result<Option<Position>, ProjectorError> {
    let head = feed.reader().head().await.map_err(ReadModelError::from)?;
    // Old tables that are ahead of the log are of another log.
    fill(tables, feed, reached.min(head.position)).await?;
    let swapped = postgres::schema::swap(&turn, new, old).await?;
    Ok(swapped.then(|| tables.position()))
}

/// Takes in all events up to `until`. The next pages are read while one is folded and written.
async fn fill(tables: &mut Tables, feed: &Feed, until: Position) -> Result<(), ProjectorError> {
    let (pages, mut read) = mpsc::channel(PAGES_AHEAD);
    let mut say_at = Instant::now() + SAY;
    tokio::spawn(read_ahead(feed.clone(), tables.position(), until, pages));
    while tables.folded() < until {
        let Some(page) = read.recv().await else {
            // The log has no event where the head says there is one.
            let reached = tables.folded();
            return Err(ReadModelError::Damaged(format!(
                "the log ends at {reached}, before its head {until}"
            ))
            .into());
        };
        tables.fold(&page?).await?;
        if tables.has_enough() {
            tables.commit().await?;
            if Instant::now() >= say_at {
                tracing::info!(position = tables.position().0, head = until.0, "rebuilding the read models");
                say_at = Instant::now() + SAY;
            }
        }
    }
    tables.commit().await?;
    Ok(())
}

/// Sends the pages after `position` until one reaches `until`, or the log ends, or nobody wants any more.
async fn read_ahead(
    feed: Feed,
    mut position: Position,
    until: Position,
    pages: mpsc::Sender<Result<Page, FeedError>>,
) {
    while position < until {
        let page = feed.after(position, PAGE_EVENTS).await;
        let last = page.as_ref().ok().and_then(|page| page.last()).map(|last| last.recorded.position);
        if page.as_ref().is_ok_and(|page| page.is_empty()) || pages.send(page).await.is_err() {
            return;
        }
        let Some(last) = last else { return };
        position = last;
    }
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
