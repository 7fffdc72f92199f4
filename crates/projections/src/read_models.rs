//! The read models as clients of this crate hold them: queries, and waiting for a position.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quillwork_app::clock;
use quillwork_app::ports::store::{LogReader, StoreError};
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::job::Status;
use sqlx::Connection;
use sqlx::sqlite::SqlitePool;
use tokio::sync::watch;

use crate::changes::Checkpoint;
use crate::job_summary::{JobFilter, JobPage, JobSummary};
use crate::job_timeline::{self, TimelineEntry};
use crate::sqlite;
use crate::stats::Stats;

/// The read models did not do what they were asked.
#[derive(Debug, thiserror::Error)]
pub enum ReadModelError {
    #[error("the read model's database failed")]
    Database(#[from] sqlx::Error),
    #[error("a row of the read model does not have its shape")]
    Row(#[from] serde_json::Error),
    #[error("the read model is damaged: {0}; stop the process and run `quillwork rebuild`")]
    Damaged(String),
    #[error("the read model has schema version {found}, this program needs {expected}")]
    OtherVersion { found: i64, expected: i64 },
    #[error("another projector moved the checkpoint on from {expected}")]
    CheckpointMoved { expected: Position },
    #[error("cannot replace the read model's file")]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Log(#[from] StoreError),
}

/// How the projector is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not running yet, or told to stop.
    Idle,
    /// Runs, and has not reached the end of the log for the first time.
    CatchingUp,
    Running,
    /// Met a failure that may pass, and tries again.
    Retrying(String),
    /// Stopped at an event that it must not skip, or the tables are damaged.
    Failed(String),
}

/// Answers queries. Cheap to clone.
#[derive(Clone)]
pub struct ReadModels {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    readers: SqlitePool,
    position: watch::Sender<Position>,
    health: watch::Sender<Health>,
    damaged: AtomicBool,
}

/// Ends the name of a file that marks the read model beside it as damaged.
pub(crate) const DAMAGED: &str = ".damaged";

impl ReadModels {
    /// Opens the file at `path`, made if there is none.
    ///
    /// A file that does not belong to this version or to this log, or that is damaged, is thrown away with a warning;
    /// the projector then starts from the beginning of the log.
    pub async fn open(path: &Path, log: &dyn LogReader) -> Result<Self, ReadModelError> {
        let checkpoint = match usable(path, log).await {
            Ok(checkpoint) => checkpoint,
            Err(Unusable::Error(error)) => return Err(error),
            Err(Unusable::Because(reason)) => {
                tracing::warn!(file = %path.display(), reason, "the read model is thrown away and built again");
                sqlite::remove(path)?;
                sqlite::remove(&sqlite::beside(path, DAMAGED))?;
                let mut connection = sqlite::open_writer(path).await?;
                let checkpoint = sqlite::checkpoint(&mut connection).await?;
                connection.close().await?;
                checkpoint
            }
        };
        let shared = Shared {
            path: path.to_owned(),
            readers: sqlite::open_readers(path),
            position: watch::Sender::new(checkpoint.position),
            health: watch::Sender::new(Health::Idle),
            damaged: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// One job.
    pub async fn job(&self, id: JobId) -> Result<Option<JobSummary>, ReadModelError> {
        let job = self.watched(sqlite::job(&self.shared.readers, id).await)?;
        Ok(job.map(|job| job.at(clock::now())))
    }

    /// Jobs, newest first, up to `limit`.
    pub async fn jobs(&self, filter: &JobFilter, limit: usize) -> Result<JobPage, ReadModelError> {
        let page = self.page(filter, limit).await;
        self.watched(page)
    }

    async fn page(&self, filter: &JobFilter, limit: usize) -> Result<JobPage, ReadModelError> {
        let now = clock::now();
        let readers = &self.shared.readers;
        // One more than asked for tells whether there is a next page.
        let fetch = limit.saturating_add(1);
        let mut items = match filter.status {
            Some(Status::Scheduled) => sqlite::jobs(readers, filter, Some(Err(now)), fetch).await?,
            Some(Status::Queued) => {
                let scheduled = JobFilter { status: Some(Status::Scheduled), ..filter.clone() };
                let mut items = sqlite::jobs(readers, filter, None, fetch).await?;
                items.extend(sqlite::jobs(readers, &scheduled, Some(Ok(now)), fetch).await?);
                items.sort_unstable_by_key(|job| std::cmp::Reverse(job.submitted_position));
                items
            }
            Some(
                Status::Running | Status::Retrying | Status::Completed | Status::Failed | Status::Cancelled,
            )
            | None => sqlite::jobs(readers, filter, None, fetch).await?,
        };
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|job| job.submitted_position) } else { None };
        Ok(JobPage { items: items.into_iter().map(|job| job.at(now)).collect(), next })
    }

    /// The attempts of one job, in order; empty for a job that does not exist.
    pub async fn timeline(&self, id: JobId) -> Result<Vec<TimelineEntry>, ReadModelError> {
        let running = sqlite::job(&self.shared.readers, id).await?.as_ref().and_then(job_timeline::running);
        let mut attempts = self.watched(sqlite::timeline(&self.shared.readers, id).await)?;
        if let Some(running) = running {
            // It may have ended between the two queries.
            let ended = |ended: &TimelineEntry| {
                (ended.stage_index, ended.attempt) == (running.stage_index, running.attempt)
            };
            if !attempts.iter().any(ended) {
                attempts.push(running);
            }
        }
        Ok(attempts)
    }

    /// The counters.
    pub async fn stats(&self) -> Result<Stats, ReadModelError> {
        let mut stats = self.watched(sqlite::stats(&self.shared.readers).await)?;
        if stats.jobs.scheduled > 0 {
            stats.due(sqlite::due(&self.shared.readers, clock::now()).await?);
        }
        Ok(stats)
    }

    /// The last event that queries show.
    pub fn position(&self) -> Position {
        *self.shared.position.borrow()
    }

    /// Waits until queries show the event at `position`, at most for `timeout`; false if they do not then.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> bool {
        let mut positions = self.shared.position.subscribe();
        let reached = positions.wait_for(|reached| *reached >= position);
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    /// How the projector and its tables are.
    pub fn health(&self) -> Health {
        if self.shared.damaged.load(Ordering::Relaxed) {
            return Health::Failed(
                "the tables are damaged; they are built again at the next start".to_owned(),
            );
        }
        self.shared.health.borrow().clone()
    }

    /// Notes if a query shows that the file is damaged: from then on it is not healthy, and the next start throws it
    /// away.
    fn watched<T>(&self, result: Result<T, ReadModelError>) -> Result<T, ReadModelError> {
        let damaged = match &result {
            Ok(_) => false,
            Err(ReadModelError::Database(error)) => sqlite::is_unusable(error),
            Err(ReadModelError::Row(_) | ReadModelError::Damaged(_)) => true,
            Err(
                ReadModelError::OtherVersion { .. }
                | ReadModelError::CheckpointMoved { .. }
                | ReadModelError::File(_)
                | ReadModelError::Log(_),
            ) => false,
        };
        if damaged && !self.shared.damaged.swap(true, Ordering::Relaxed) {
            tracing::error!(file = %self.shared.path.display(), "the read model is damaged; restart to build it again");
            // Without the mark the next start finds out again.
            let _ = std::fs::write(sqlite::beside(&self.shared.path, DAMAGED), []);
        }
        result
    }

    pub(crate) fn path(&self) -> &Path {
        &self.shared.path
    }

    pub(crate) fn set_position(&self, position: Position) {
        self.shared.position.send_replace(position);
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.shared.health.send_if_modified(|current| {
            let changed = *current != health;
            *current = health;
            changed
        });
    }
}

enum Unusable {
    /// The file cannot be used by anyone.
    Because(String),
    /// The file may be fine.
    Error(ReadModelError),
}

impl From<ReadModelError> for Unusable {
    fn from(error: ReadModelError) -> Self {
        match &error {
            ReadModelError::Database(source) if sqlite::is_unusable(source) => {
                Self::Because(source.to_string())
            }
            ReadModelError::OtherVersion { .. } | ReadModelError::Damaged(_) => {
                Self::Because(error.to_string())
            }
            ReadModelError::Database(_)
            | ReadModelError::Row(_)
            | ReadModelError::CheckpointMoved { .. }
            | ReadModelError::File(_)
            | ReadModelError::Log(_) => Self::Error(error),
        }
    }
}

/// The checkpoint of a file that belongs to this version and to this log.
async fn usable(path: &Path, log: &dyn LogReader) -> Result<Checkpoint, Unusable> {
    if sqlite::beside(path, DAMAGED).exists() {
        return Err(Unusable::Because("a query found it damaged".to_owned()));
    }
    let mut connection = sqlite::open_writer(path).await?;
    let checkpoint = sqlite::checkpoint(&mut connection).await?;
    connection.close().await.map_err(ReadModelError::from)?;
    if checkpoint.position > Position::START {
        let before = Position(checkpoint.position.0 - 1);
        let event = log.read_all(before, 1).await.map_err(ReadModelError::from)?;
        if event.first().is_none_or(|event| event.hash != checkpoint.hash) {
            return Err(Unusable::Because(
                "it was made from another log, or the log was set back".to_owned(),
            ));
        }
    }
    Ok(checkpoint)
}
