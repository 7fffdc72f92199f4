//! What clients ask, but for lists of jobs.

use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::time::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Database, from_i64, to_i64};
use crate::job_row::{JobRow, outcome_of};
use crate::job_summary::JobSummary;
use crate::job_timeline::{TimelineEntry, stage_of};
use crate::queues::QueueRow;
use crate::read_models::ReadModelError;
use crate::stats::Stats;

/// The columns that [`summary`] reads beside the position.
pub(super) const JOB_COLUMNS: &str = "id, status, pipeline, tenant, topic, details";

pub(crate) const ROWS: &str = "
    SELECT submitted_position, id, status, pipeline, tenant, topic, details
    FROM {schema}.job_summary WHERE id = ANY($1)";

pub(crate) const FINISHED: &str = "
    SELECT submitted_position, id, status, pipeline, tenant, topic, details FROM {schema}.job_summary
    WHERE finished_at < $1 AND (finished_at, submitted_position) > ($2, $3)
    ORDER BY finished_at, submitted_position LIMIT $4";

pub(crate) const TIMELINE: &str = "
    SELECT stage_index, attempt, outcome, worker, started_at, finished_at, class, error, retry_at
    FROM {schema}.job_timeline WHERE submitted_position = $1
    ORDER BY stage_index, attempt";

// One statement, so that counters and position are of one commit.
pub(crate) const STATS: &str = "
    SELECT name, value FROM {schema}.stats
    UNION ALL SELECT 'position', position FROM {schema}.checkpoint WHERE id = 1";

pub(crate) const DUE: &str = "SELECT count(*) FROM {schema}.job_summary WHERE due_at <= $1";

pub(crate) const QUEUES: &str = "
    SELECT handler, paused, max_running, reason, changed_at, actor, version
    FROM {schema}.queues
    ORDER BY handler";

/// The rows of `ids`, in no order; jobs without a row are left out.
pub(crate) async fn rows(database: &Database, ids: &[JobId]) -> Result<Vec<JobSummary>, ReadModelError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = database.run(sqlx::query(database.sql(ROWS)).bind(ids)).await?;
    rows.iter().map(summary).collect()
}

/// Up to `limit` jobs that ended before `cutoff`, in the order of their ends, after a time and a position.
pub(crate) async fn finished(
    database: &Database,
    cutoff: Timestamp,
    (ended, position): (Timestamp, Position),
    limit: usize,
) -> Result<Vec<JobSummary>, ReadModelError> {
    let query = sqlx::query(database.sql(FINISHED))
        .bind(cutoff.as_millis())
        .bind(ended.as_millis())
        .bind(to_i64(position.0))
        .bind(to_i64(limit as u64));
    let rows = database.run(query).await?;
    rows.iter().map(summary).collect()
}

pub(super) fn summary(row: &PgRow) -> Result<JobSummary, ReadModelError> {
    let columns = JobRow {
        submitted_position: Position(from_i64(row.try_get(0)?)),
        id: JobId(row.try_get(1)?),
        status: row.try_get::<i16, _>(2)?.into(),
        pipeline: row.try_get(3)?,
        tenant: row.try_get(4)?,
        topic: row.try_get(5)?,
        details: row.try_get(6)?,
    };
    columns.job()
}

/// The attempts of `job` that have ended, in order.
pub(crate) async fn timeline(
    database: &Database,
    job: &JobSummary,
) -> Result<Vec<TimelineEntry>, ReadModelError> {
    let select = sqlx::query(database.sql(TIMELINE)).bind(to_i64(job.submitted_position.0));
    let rows = database.run(select).await?;
    rows.iter()
        .map(|row| {
            let time = |column| -> Result<_, sqlx::Error> {
                Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
            };
            let stage_index = small(row.try_get::<i32, _>("stage_index")?)?;
            Ok(TimelineEntry {
                stage_index,
                stage: stage_of(job, stage_index),
                attempt: Attempt(small(row.try_get::<i32, _>("attempt")?)?),
                outcome: outcome_of(row.try_get::<i16, _>("outcome")?.into())?,
                worker: row.try_get("worker")?,
                started_at: time("started_at")?,
                finished_at: time("finished_at")?,
                class: row.try_get("class")?,
                error: row.try_get("error")?,
                retry_at: time("retry_at")?,
            })
        })
        .collect()
}

fn small(n: impl Into<i64>) -> Result<u32, ReadModelError> {
    let n = n.into();
    u32::try_from(n).map_err(|_| ReadModelError::Damaged(format!("a row has {n} for a small number")))
}

/// The stored counters and the position that they belong to.
pub(crate) async fn stats(database: &Database) -> Result<Stats, ReadModelError> {
    let rows = database.run(sqlx::query(database.sql(STATS))).await?;
    let mut stats = Stats::default();
    for row in &rows {
        let value: i64 = row.try_get("value")?;
        match row.try_get("name")? {
            "position" => stats.position = Position(from_i64(value)),
            name => stats.set(name, value),
        }
    }
    Ok(stats)
}

/// How many scheduled jobs are due at `now`.
pub(crate) async fn due(database: &Database, now: Timestamp) -> Result<u64, ReadModelError> {
    let rows = database.run(sqlx::query(database.sql(DUE)).bind(now.as_millis())).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.map_or(0, from_i64))
}

/// The queues' controls, by handler.
pub(crate) async fn queues(database: &Database) -> Result<Vec<QueueRow>, ReadModelError> {
    let rows = database.run(sqlx::query(database.sql(QUEUES))).await?;
    rows.iter()
        .map(|row| {
            Ok(QueueRow {
                handler: row.try_get("handler")?,
                paused: row.try_get("paused")?,
                max_running: row.try_get::<Option<i64>, _>("max_running")?.map(small).transpose()?,
                reason: row.try_get("reason")?,
                changed_at: Timestamp::from_millis(row.try_get("changed_at")?),
                actor: row.try_get("actor")?,
                version: Version(from_i64(row.try_get("version")?)),
            })
        })
        .collect()
}
