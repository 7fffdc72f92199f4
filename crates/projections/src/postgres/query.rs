//! What clients ask, but for lists of jobs.

use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::time::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Database, from_i64, to_i64};
use crate::job_summary::JobSummary;
use crate::job_timeline::{TimelineEntry, TimelineOutcome};
use crate::queues::QueueRow;
use crate::read_models::ReadModelError;
use crate::stats::Stats;

pub(crate) const JOB: &str = "SELECT summary FROM {schema}.job_summary WHERE id = $1";

pub(crate) const ROWS: &str = "SELECT summary FROM {schema}.job_summary WHERE id = ANY($1)";

pub(crate) const FINISHED: &str = "
    SELECT summary FROM {schema}.job_summary
    WHERE finished_at < $1 AND (finished_at, submitted_position) > ($2, $3)
    ORDER BY finished_at, submitted_position LIMIT $4";

pub(crate) const TIMELINE: &str = "
    SELECT stage_index, stage, attempt, worker, started_at, finished_at, outcome, class, error, retry_at
    FROM {schema}.job_timeline
    WHERE submitted_position = (SELECT submitted_position FROM {schema}.job_summary WHERE id = $1)
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

/// The row of one job.
pub(crate) async fn job(database: &Database, id: JobId) -> Result<Option<JobSummary>, ReadModelError> {
    let rows = database.run(sqlx::query(database.sql(JOB)).bind(id.0)).await?;
    rows.first().map(summary).transpose()
}

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
    Ok(serde_json::from_str(row.try_get("summary")?)?)
}

/// The attempts of one job, in order.
pub(crate) async fn timeline(database: &Database, id: JobId) -> Result<Vec<TimelineEntry>, ReadModelError> {
    let rows = database.run(sqlx::query(database.sql(TIMELINE)).bind(id.0)).await?;
    rows.iter()
        .map(|row| {
            let time = |column| -> Result<_, sqlx::Error> {
                Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
            };
            let outcome = TimelineOutcome::from_name(row.try_get("outcome")?)
                .ok_or_else(|| ReadModelError::Damaged("a timeline row has an unknown outcome".to_owned()))?;
            Ok(TimelineEntry {
                stage_index: small(row.try_get("stage_index")?)?,
                stage: row.try_get("stage")?,
                attempt: Attempt(small(row.try_get("attempt")?)?),
                worker: row.try_get("worker")?,
                started_at: time("started_at")?,
                finished_at: time("finished_at")?,
                outcome,
                class: row.try_get("class")?,
                error: row.try_get("error")?,
                retry_at: time("retry_at")?,
            })
        })
        .collect()
}

fn small(n: i64) -> Result<u32, ReadModelError> {
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
