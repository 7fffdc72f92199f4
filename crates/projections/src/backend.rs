//! Where the tables are. The one place that tells SQLite from PostgreSQL; each has its SQL in a folder of its own.

use std::sync::Arc;

use quillwork_app::ports::spending::Spendings;
use quillwork_domain::content::{Rater, Stars};
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::time::{Day, Timestamp};

use crate::changes::{Changes, Checkpoint};
use crate::content_analytics::{ContentAnalytics, ContentPlace, ContentSort};
use crate::job_summary::{JobFilter, JobSummary};
use crate::job_timeline::TimelineEntry;
use crate::queues::QueueRow;
use crate::read_models::ReadModelError;
use crate::stats::Stats;
use crate::usage::{UsageFilter, UsageGroup, UsagePlace, UsageRow};
use crate::{postgres, sqlite};

/// The version of the tables and of the folds that fill them. An SQLite file of another version is thrown away; on
/// PostgreSQL each version has tables of its own.
pub(crate) const SCHEMA_VERSION: i64 = 6;

/// What readers ask.
pub(crate) enum Backend {
    Sqlite(sqlite::Readers),
    Postgres(postgres::Database, postgres::Lookups),
}

/// What a query for a list found.
pub(crate) struct Found {
    pub(crate) items: Vec<JobSummary>,
    /// The query stopped looking after this job, and there may be more before it.
    pub(crate) looked_to: Option<Position>,
}

impl Backend {
    pub(crate) fn postgres(database: postgres::Database) -> Self {
        Self::Postgres(database.clone(), postgres::Lookups::new(database))
    }

    pub(crate) async fn job(&self, id: JobId) -> Result<Option<JobSummary>, ReadModelError> {
        match self {
            Self::Sqlite(readers) => sqlite::job(readers, id),
            Self::Postgres(_, lookups) => lookups.job(id).await,
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
            Self::Sqlite(readers) => {
                let items = sqlite::jobs(readers, filter, due, limit).await?;
                Ok(Found { items, looked_to: None })
            }
            Self::Postgres(database, _) => postgres::list::jobs(database, filter, due, limit).await,
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
            Self::Sqlite(readers) => sqlite::finished(readers, cutoff, after, limit).await,
            Self::Postgres(database, _) => postgres::query::finished(database, cutoff, after, limit).await,
        }
    }

    /// The attempts of `job` that have ended, in order.
    pub(crate) async fn timeline(&self, job: &JobSummary) -> Result<Vec<TimelineEntry>, ReadModelError> {
        match self {
            Self::Sqlite(readers) => sqlite::timeline(readers, job),
            Self::Postgres(database, _) => postgres::query::timeline(database, job).await,
        }
    }

    /// The stored counters and the position that they belong to.
    pub(crate) async fn stats(&self) -> Result<Stats, ReadModelError> {
        match self {
            Self::Sqlite(readers) => sqlite::stats(readers),
            Self::Postgres(database, _) => postgres::query::stats(database).await,
        }
    }

    /// How many scheduled jobs are due at `now`.
    pub(crate) async fn due(&self, now: Timestamp) -> Result<u64, ReadModelError> {
        match self {
            Self::Sqlite(readers) => sqlite::due(readers, now).await,
            Self::Postgres(database, _) => postgres::query::due(database, now).await,
        }
    }

    /// By handler.
    pub(crate) async fn queues(&self) -> Result<Vec<QueueRow>, ReadModelError> {
        match self {
            Self::Sqlite(readers) => sqlite::queues(readers),
            Self::Postgres(database, _) => postgres::query::queues(database).await,
        }
    }

    /// What a tenant has spent on a day.
    pub(crate) async fn spent(&self, tenant: &str, day: Day) -> Result<Spendings, ReadModelError> {
        match self {
            Self::Sqlite(readers) => sqlite::usage::spent(readers, tenant, day),
            Self::Postgres(database, _) => postgres::usage::spent(database, tenant, day).await,
        }
    }

    /// Up to `limit` rows of what was paid for, after a place.
    pub(crate) async fn usage(
        &self,
        filter: &UsageFilter,
        group: UsageGroup,
        after: UsagePlace,
        limit: usize,
    ) -> Result<Vec<UsageRow>, ReadModelError> {
        match self {
            Self::Sqlite(readers) => sqlite::usage::rows(readers, filter, group, after, limit).await,
            Self::Postgres(database, _) => postgres::usage::rows(database, filter, group, after, limit).await,
        }
    }

    /// The row of one article.
    pub(crate) async fn content(&self, id: JobId) -> Result<Option<ContentAnalytics>, ReadModelError> {
        match self {
            Self::Sqlite(readers) => sqlite::content::content(readers, id),
            Self::Postgres(database, _) => Ok(postgres::content::rows(database, &[id]).await?.pop()),
        }
    }

    /// Up to `limit` articles of jobs that have completed or left the log, after a place in their order.
    pub(crate) async fn contents(
        &self,
        sort: ContentSort,
        after: ContentPlace,
        limit: usize,
    ) -> Result<Vec<ContentAnalytics>, ReadModelError> {
        match self {
            Self::Sqlite(readers) => sqlite::content::contents(readers, sort, after, limit).await,
            Self::Postgres(database, _) => postgres::content::contents(database, sort, after, limit).await,
        }
    }
}

/// The one writer's access to the tables.
pub(crate) enum Writer {
    Sqlite(sqlite::Writer),
    Postgres(postgres::Turn),
}

impl Writer {
    /// The rows of `ids`, in no order; jobs without a row are left out.
    pub(crate) async fn rows(&mut self, ids: Vec<JobId>) -> Result<Vec<JobSummary>, ReadModelError> {
        match self {
            Self::Sqlite(writer) => writer.rows(ids).await,
            Self::Postgres(turn) => postgres::query::rows(&turn.database, &ids).await,
        }
    }

    /// By handler.
    pub(crate) async fn queues(&mut self) -> Result<Vec<QueueRow>, ReadModelError> {
        match self {
            Self::Sqlite(writer) => writer.queues().await,
            Self::Postgres(turn) => postgres::query::queues(&turn.database).await,
        }
    }

    /// The rows of articles, in no order; those without a row are left out.
    pub(crate) async fn contents(
        &mut self,
        ids: Vec<JobId>,
    ) -> Result<Vec<ContentAnalytics>, ReadModelError> {
        match self {
            Self::Sqlite(writer) => writer.contents(ids).await,
            Self::Postgres(turn) => postgres::content::rows(&turn.database, &ids).await,
        }
    }

    /// How many stars raters gave articles, in no order; those that gave none are left out.
    pub(crate) async fn stars(
        &mut self,
        raters: Vec<(JobId, Rater)>,
    ) -> Result<Vec<((JobId, Rater), Stars)>, ReadModelError> {
        match self {
            Self::Sqlite(writer) => writer.stars(raters).await,
            Self::Postgres(turn) => postgres::content::stars(&turn.database, &raters).await,
        }
    }

    /// Writes rows and checkpoint, all or nothing, if the checkpoint is still `after` and it is still our turn.
    pub(crate) async fn write(
        &mut self,
        after: Checkpoint,
        changes: &Arc<Changes>,
    ) -> Result<(), ReadModelError> {
        match self {
            Self::Sqlite(writer) => writer.write(after, changes.clone()).await,
            Self::Postgres(turn) => postgres::write::write(turn, after, changes).await,
        }
    }

    /// Makes the indexes of tables that were made without.
    pub(crate) async fn index(&mut self) -> Result<(), ReadModelError> {
        match self {
            Self::Sqlite(writer) => writer.index().await,
            // With many jobs it takes minutes, and no other rebuild may take the tables for left over.
            Self::Postgres(turn) => tokio::select! {
                indexed = postgres::schema::index(&turn.database) => indexed,
                never = turn.keep() => match never {},
            },
        }
    }

    pub(crate) async fn close(self) -> Result<(), ReadModelError> {
        match self {
            Self::Sqlite(writer) => writer.close().await,
            Self::Postgres(_) => Ok(()),
        }
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
