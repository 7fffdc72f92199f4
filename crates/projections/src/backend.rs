//! Where the tables are. The one place that tells SQLite from PostgreSQL; each has its SQL in a folder of its own.

use std::path::PathBuf;

use quillwork_domain::id::{JobId, Position};
use quillwork_domain::time::Timestamp;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqlitePool;
use sqlx::{Connection, SqliteConnection};

use crate::changes::{Changes, Checkpoint};
use crate::job_summary::{JobFilter, JobSummary};
use crate::job_timeline::TimelineEntry;
use crate::queues::QueueRow;
use crate::read_models::ReadModelError;
use crate::stats::Stats;
use crate::{postgres, sqlite};

/// The version of the tables and of the folds that fill them. An SQLite file of another version is thrown away; on
/// PostgreSQL each version has tables of its own.
pub(crate) const SCHEMA_VERSION: i64 = 3;

/// What readers ask.
pub(crate) enum Backend {
    Sqlite { path: PathBuf, readers: SqlitePool },
    Postgres(postgres::Database),
}

/// What a query for a list found.
pub(crate) struct Found {
    pub(crate) items: Vec<JobSummary>,
    /// The query stopped looking after this job, and there may be more before it.
    pub(crate) looked_to: Option<Position>,
}

impl Backend {
    pub(crate) async fn job(&self, id: JobId) -> Result<Option<JobSummary>, ReadModelError> {
        match self {
            Self::Sqlite { readers, .. } => sqlite::job(readers, id).await,
            Self::Postgres(database) => postgres::query::job(database, id).await,
        }
    }

    /// Up to `limit` jobs whose stored status is one of the filter's, newest first. With `due`, only those scheduled
    /// jobs whose time has come by then (`Ok`), or has not (`Err`).
    pub(crate) async fn jobs(
        &self,
        filter: &JobFilter,
        due: Option<Result<Timestamp, Timestamp>>,
        limit: usize,
    ) -> Result<Found, ReadModelError> {
        match self {
            Self::Sqlite { readers, .. } => {
                let items = sqlite::jobs(readers, filter, due, limit).await?;
                Ok(Found { items, looked_to: None })
            }
            Self::Postgres(database) => postgres::list::jobs(database, filter, due, limit).await,
        }
    }

    /// Up to `limit` jobs that ended before `cutoff`, those that ended first before the others, after the one that ended at
    /// a time and was submitted at a position.
    pub(crate) async fn finished(
        &self,
        cutoff: Timestamp,
        after: (Timestamp, Position),
        limit: usize,
    ) -> Result<Vec<JobSummary>, ReadModelError> {
        match self {
            Self::Sqlite { readers, .. } => sqlite::finished(readers, cutoff, after, limit).await,
            Self::Postgres(database) => postgres::query::finished(database, cutoff, after, limit).await,
        }
    }

    /// The attempts of one job that have ended, in order.
    pub(crate) async fn timeline(&self, id: JobId) -> Result<Vec<TimelineEntry>, ReadModelError> {
        match self {
            Self::Sqlite { readers, .. } => sqlite::timeline(readers, id).await,
            Self::Postgres(database) => postgres::query::timeline(database, id).await,
        }
    }

    /// The stored counters and the position that they belong to.
    pub(crate) async fn stats(&self) -> Result<Stats, ReadModelError> {
        match self {
            Self::Sqlite { readers, .. } => sqlite::stats(readers).await,
            Self::Postgres(database) => postgres::query::stats(database).await,
        }
    }

    /// How many scheduled jobs are due at `now`.
    pub(crate) async fn due(&self, now: Timestamp) -> Result<u64, ReadModelError> {
        match self {
            Self::Sqlite { readers, .. } => sqlite::due(readers, now).await,
            Self::Postgres(database) => postgres::query::due(database, now).await,
        }
    }

    /// By handler.
    pub(crate) async fn queues(&self) -> Result<Vec<QueueRow>, ReadModelError> {
        match self {
            Self::Sqlite { readers, .. } => {
                let mut connection = readers.acquire().await?;
                sqlite::queues(&mut connection).await
            }
            Self::Postgres(database) => postgres::query::queues(database).await,
        }
    }
}

/// The one writer's access to the tables.
pub(crate) enum Writer {
    Sqlite(Box<SqliteConnection>),
    Postgres(postgres::Turn),
}

impl Writer {
    /// The rows of `ids`, in no order; jobs without a row are left out.
    pub(crate) async fn rows(&mut self, ids: &[JobId]) -> Result<Vec<JobSummary>, ReadModelError> {
        match self {
            Self::Sqlite(connection) => sqlite::rows(connection, ids).await,
            Self::Postgres(turn) => postgres::query::rows(&turn.database, ids).await,
        }
    }

    /// By handler.
    pub(crate) async fn queues(&mut self) -> Result<Vec<QueueRow>, ReadModelError> {
        match self {
            Self::Sqlite(connection) => sqlite::queues(connection).await,
            Self::Postgres(turn) => postgres::query::queues(&turn.database).await,
        }
    }

    /// Writes rows and checkpoint, all or nothing, if the checkpoint is still `after` and it is still our turn.
    pub(crate) async fn write(&mut self, after: Checkpoint, changes: &Changes) -> Result<(), ReadModelError> {
        match self {
            Self::Sqlite(connection) => sqlite::write(connection, after, changes).await,
            Self::Postgres(turn) => postgres::write::write(turn, after, changes).await,
        }
    }

    pub(crate) async fn close(self) -> Result<(), ReadModelError> {
        match self {
            Self::Sqlite(connection) => Ok(connection.close().await?),
            Self::Postgres(_) => Ok(()),
        }
    }
}

/// True if the tables cannot be used by anyone, as opposed to not now or not by this process.
pub(crate) fn is_unusable(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        Some(error) if error.try_downcast_ref::<PgDatabaseError>().is_some() => {
            postgres::is_unusable(error.code().as_deref())
        }
        Some(error) => sqlite::is_unusable(error.code().as_deref()),
        None => false,
    }
}

impl Found {
    /// What two queries found together, as far as both have looked.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.items.extend(other.items);
        self.items.sort_unstable_by_key(|job| std::cmp::Reverse(job.submitted_position));
        self.looked_to = self.looked_to.max(other.looked_to);
        if let Some(looked_to) = self.looked_to {
            self.items.retain(|job| job.submitted_position >= looked_to);
        }
        self
    }
}
