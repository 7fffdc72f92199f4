//! Keeping the read models up to date.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::time::Duration;

use lru::LruCache;
use quillwork_app::feed::{Feed, FeedError, Page};
use quillwork_app::ports::store::{Entry, StoreError};
use quillwork_domain::id::{JobId, Position, Version};
use sqlx::SqliteConnection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::changes::{Changes, Checkpoint, OutOfStep};
use crate::job_summary::JobSummary;
use crate::read_models::{Health, ReadModelError, ReadModels};
use crate::sqlite;

/// Rows of open jobs kept in memory. A job that is not among them is read back when it has news.
const LIVE_ROWS: usize = 2_000;

/// Events that one commit takes at most.
pub(crate) const BATCH_EVENTS: usize = 2_048;

/// After a commit of this many rows there is load, and the next commit waits for more company.
const LOADED_ROWS: usize = 16;

/// Under load, the least time between two commits.
const WINDOW: Duration = Duration::from_millis(20);

/// Waits between attempts while something is out of reach.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why a projector stopped, or must try again.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
    #[error("the log cannot be followed")]
    Feed(#[from] FeedError),
    #[error("the read models do not fit the log")]
    OutOfStep(#[from] OutOfStep),
    #[error("the read models cannot be written")]
    ReadModel(#[from] ReadModelError),
}

impl ProjectorError {
    /// True if the same may work later, without an event being skipped.
    fn is_transient(&self) -> bool {
        match self {
            Self::Feed(FeedError::Store(error)) | Self::ReadModel(ReadModelError::Log(error)) => {
                match error {
                    StoreError::Unavailable(_) | StoreError::Full(_) => true,
                    StoreError::Corrupt(_) => false,
                }
            }
            Self::Feed(FeedError::Undecodable { .. } | FeedError::Hole { .. }) | Self::OutOfStep(_) => false,
            Self::ReadModel(error) => match error {
                ReadModelError::Database(error) => !sqlite::is_unusable(error),
                ReadModelError::File(_) | ReadModelError::Log(_) => true,
                ReadModelError::Row(_)
                | ReadModelError::Damaged(_)
                | ReadModelError::OtherVersion { .. }
                | ReadModelError::CheckpointMoved { .. } => false,
            },
        }
    }
}

/// Follows the log and writes the tables. One per read model file.
pub struct Projector;

impl Projector {
    /// Runs until `shutdown`, or until it meets an event that it can neither fold nor skip.
    ///
    /// What may pass (a full disk, a log out of reach) is tried again from the checkpoint, and shows in
    /// [`ReadModels::health`] meanwhile.
    pub async fn run(
        models: ReadModels,
        feed: Feed,
        shutdown: CancellationToken,
    ) -> Result<(), ProjectorError> {
        let mut backoff = BACKOFF.0;
        loop {
            let followed = shutdown.run_until_cancelled(follow(&models, &feed)).await;
            let Some(Err(error)) = followed else {
                models.set_health(Health::Idle);
                return Ok(());
            };
            let reason = chain(&error);
            if !error.is_transient() {
                tracing::error!(
                    reason,
                    "the projector stopped; the log is intact, the read models fall behind"
                );
                models.set_health(Health::Failed(reason));
                return Err(error);
            }
            // A failure after a time of success is a new one.
            backoff =
                if models.health() == Health::Running { BACKOFF.0 } else { (backoff * 2).min(BACKOFF.1) };
            tracing::warn!(reason, retry_in = ?backoff, "the projector cannot go on and tries again");
            models.set_health(Health::Retrying(reason));
            if shutdown.run_until_cancelled(tokio::time::sleep(backoff)).await.is_none() {
                models.set_health(Health::Idle);
                return Ok(());
            }
        }
    }
}

/// The error with its causes, for logs and health.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Follows the log for ever.
async fn follow(models: &ReadModels, feed: &Feed) -> Result<std::convert::Infallible, ProjectorError> {
    let mut tables = Tables::open(models.path()).await?;
    models.set_position(tables.position());
    if models.health() == Health::Idle {
        models.set_health(Health::CatchingUp);
    }
    loop {
        if tables.position() >= feed.head() {
            models.set_health(Health::Running);
        }
        feed.wait_past(tables.position()).await;
        let (started, before) = (Instant::now(), tables.position());
        let n_rows = tables.catch_up(feed).await?;
        models.set_position(tables.position());
        if models.health() != Health::CatchingUp || tables.position() >= feed.head() {
            models.set_health(Health::Running);
        }
        // No row at all means that the log cannot be read up to its head yet, which must not become a busy loop.
        // Who lags has company enough.
        let lags = tables.position().0 >= before.0 + BATCH_EVENTS as u64;
        if n_rows == 0 || (n_rows >= LOADED_ROWS && !lags) {
            tokio::time::sleep_until(started + WINDOW).await;
        }
    }
}

/// The tables as their one writer holds them.
pub(crate) struct Tables {
    connection: SqliteConnection,
    live: LruCache<JobId, JobSummary>,
    checkpoint: Checkpoint,
}

impl Tables {
    pub(crate) async fn open(path: &std::path::Path) -> Result<Self, ReadModelError> {
        let mut connection = sqlite::open_writer(path).await?;
        let checkpoint = sqlite::checkpoint(&mut connection).await?;
        Ok(Self {
            connection,
            live: LruCache::new(NonZeroUsize::new(LIVE_ROWS).unwrap_or(NonZeroUsize::MIN)),
            checkpoint,
        })
    }

    /// The last event that the tables contain.
    pub(crate) fn position(&self) -> Position {
        self.checkpoint.position
    }

    /// Commits what the feed has, up to about [`BATCH_EVENTS`]; returns how many jobs changed.
    pub(crate) async fn catch_up(&mut self, feed: &Feed) -> Result<usize, ProjectorError> {
        let mut pages: Vec<Page> = Vec::new();
        let mut n_events = 0;
        let mut position = self.position();
        while n_events < BATCH_EVENTS && position < feed.head() {
            let page = match feed.after(position, BATCH_EVENTS).await {
                Ok(page) => page,
                Err(error) if pages.is_empty() => return Err(error.into()),
                // What stands before the failure is good; it returns in the next round.
                Err(_) => break,
            };
            let Some(last) = page.last() else { break };
            position = last.recorded.position;
            n_events += page.len();
            pages.push(page);
        }
        let pages: Vec<&[Entry]> = pages.iter().map(Deref::deref).collect();
        self.project(&pages).await
    }

    /// Folds `pages`, which follow the checkpoint, and commits; returns how many jobs changed.
    ///
    /// After an error nothing is written and the value is of no more use.
    pub(crate) async fn project(&mut self, pages: &[&[Entry]]) -> Result<usize, ProjectorError> {
        let entries = || pages.iter().copied().flatten();
        if entries().next().is_none() {
            return Ok(0);
        }
        let mut changes = Changes::after(self.checkpoint);
        let mut begun = HashSet::new();
        let mut missing = Vec::new();
        for entry in entries() {
            let job = entry.recorded.job;
            if !begun.insert(job) || entry.recorded.version == Version(1) {
                continue;
            }
            match self.live.pop(&job) {
                Some(row) => {
                    changes.jobs.insert(job, Some(row));
                }
                None => missing.push(job),
            }
        }
        if !missing.is_empty() {
            for row in sqlite::rows(&mut self.connection, &missing).await? {
                changes.jobs.insert(row.id, Some(row));
            }
        }
        for entry in entries() {
            changes.fold(entry)?;
        }
        sqlite::write(&mut self.connection, self.checkpoint, &changes).await?;

        self.checkpoint = changes.through;
        let n_jobs = changes.jobs.len();
        for (id, row) in changes.jobs {
            if let Some(row) = row.filter(|row| !row.status.is_terminal()) {
                self.live.put(id, row);
            }
        }
        Ok(n_jobs)
    }

    pub(crate) async fn close(self) -> Result<(), ReadModelError> {
        use sqlx::Connection as _;
        Ok(self.connection.close().await?)
    }
}
