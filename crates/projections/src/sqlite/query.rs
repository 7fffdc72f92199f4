//! What clients ask.

use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::{from_i64, to_i64};
use crate::job_summary::{JobFilter, JobSummary};
use crate::job_timeline::{TimelineEntry, TimelineOutcome};
use crate::queues::QueueRow;
use crate::read_models::ReadModelError;
use crate::stats::Stats;

/// The row of one job.
pub(crate) async fn job(pool: &SqlitePool, id: JobId) -> Result<Option<JobSummary>, ReadModelError> {
    let row = sqlx::query("SELECT summary FROM job_summary WHERE id = ?1")
        .bind(id.0.as_bytes().as_slice())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(summary).transpose()
}

fn summary(row: &SqliteRow) -> Result<JobSummary, ReadModelError> {
    Ok(serde_json::from_str(row.try_get("summary")?)?)
}

/// Up to `limit` jobs whose stored status is one of the filter's, newest first. With `due`, only those scheduled jobs
/// whose time has come by then (`Ok`), or has not (`Err`).
pub(crate) async fn jobs(
    pool: &SqlitePool,
    filter: &JobFilter,
    due: Option<Result<Timestamp, Timestamp>>,
    limit: usize,
) -> Result<Vec<JobSummary>, ReadModelError> {
    let JobFilter { status, pipeline, tenant, label, search, before } = filter;
    // SQLite keeps no statistics here, and `+` hides a column from its planner: every query walks the rows of one
    // index (or the table) in the order of the list, so that it may stop at the limit. The label is the most selective,
    // then any status but completed, which most jobs have in the end.
    let by_label = label.is_some();
    let by_status =
        !by_label && status.is_some_and(|status| status != Status::Completed || !narrowed(filter));
    let by_pipeline = !by_label && !by_status && search.is_none();
    // In a file most jobs are of one tenant.
    let by_tenant = by_pipeline && pipeline.is_none();
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT job_summary.summary FROM ");
    let order = if let Some(label) = label {
        // A cross join is run from left to right.
        sql.push("job_label CROSS JOIN job_summary");
        sql.push(
            " WHERE job_summary.submitted_position = job_label.submitted_position AND job_label.label = ",
        );
        sql.push_bind(label);
        "job_label.submitted_position"
    } else {
        sql.push("job_summary WHERE true");
        "job_summary.submitted_position"
    };
    if let Some(status) = status {
        sql.push(if by_status { " AND status = " } else { " AND +status = " }).push_bind(status.as_str());
    }
    if let Some(pipeline) = pipeline {
        sql.push(if by_pipeline { " AND pipeline = " } else { " AND +pipeline = " }).push_bind(pipeline);
    }
    if let Some(tenant) = tenant {
        sql.push(if by_tenant { " AND tenant = " } else { " AND +tenant = " }).push_bind(tenant);
    }
    match due {
        Some(Ok(now)) => {
            sql.push(" AND +due_at <= ").push_bind(now.as_millis());
        }
        Some(Err(now)) => {
            sql.push(" AND +due_at > ").push_bind(now.as_millis());
        }
        None => {}
    }
    if let Some(search) = search {
        sql.push(" AND instr(search, ").push_bind(search.to_lowercase()).push(") > 0");
    }
    if let Some(before) = before {
        sql.push(" AND ").push(order).push(" < ").push_bind(to_i64(before.0));
    }
    sql.push(" ORDER BY ").push(order).push(" DESC LIMIT ").push_bind(to_i64(limit as u64));
    let rows = sql.build().fetch_all(pool).await?;
    rows.iter().map(summary).collect()
}

/// Up to `limit` jobs that ended before `cutoff`, in the order of their ends, after a time and a position.
pub(crate) async fn finished(
    pool: &SqlitePool,
    cutoff: Timestamp,
    (ended, position): (Timestamp, Position),
    limit: usize,
) -> Result<Vec<JobSummary>, ReadModelError> {
    let rows = sqlx::query(
        "SELECT summary FROM job_summary
         WHERE finished_at < ?1 AND (finished_at, submitted_position) > (?2, ?3)
         ORDER BY finished_at, submitted_position LIMIT ?4",
    )
    .bind(cutoff.as_millis())
    .bind(ended.as_millis())
    .bind(to_i64(position.0))
    .bind(to_i64(limit as u64))
    .fetch_all(pool)
    .await?;
    rows.iter().map(summary).collect()
}

/// True if more than the status restricts the list.
fn narrowed(filter: &JobFilter) -> bool {
    filter.pipeline.is_some() || filter.tenant.is_some() || filter.search.is_some()
}

/// The attempts of one job, in order.
pub(crate) async fn timeline(pool: &SqlitePool, id: JobId) -> Result<Vec<TimelineEntry>, ReadModelError> {
    let rows = sqlx::query(
        "SELECT stage_index, stage, attempt, worker, started_at, finished_at, outcome, class, error, retry_at
         FROM job_timeline
         WHERE submitted_position = (SELECT submitted_position FROM job_summary WHERE id = ?1)
         ORDER BY stage_index, attempt",
    )
    .bind(id.0.as_bytes().as_slice())
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let time = |column| -> Result<_, sqlx::Error> {
                Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
            };
            let outcome = TimelineOutcome::from_name(row.try_get("outcome")?)
                .ok_or_else(|| ReadModelError::Damaged("a timeline row has an unknown outcome".to_owned()))?;
            Ok(TimelineEntry {
                stage_index: row.try_get("stage_index")?,
                stage: row.try_get("stage")?,
                attempt: Attempt(row.try_get("attempt")?),
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

/// The stored counters and the position that they belong to.
pub(crate) async fn stats(pool: &SqlitePool) -> Result<Stats, ReadModelError> {
    // One statement, so that counters and position are of one commit.
    let rows = sqlx::query(
        "SELECT name, value FROM stats UNION ALL SELECT 'position', position FROM checkpoint WHERE id = 1",
    )
    .fetch_all(pool)
    .await?;
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
pub(crate) async fn due(pool: &SqlitePool, now: Timestamp) -> Result<u64, ReadModelError> {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM job_summary WHERE due_at <= ?1")
        .bind(now.as_millis())
        .fetch_one(pool)
        .await?;
    Ok(from_i64(n))
}

/// The queues' controls, by handler.
pub(crate) async fn queues(connection: &mut SqliteConnection) -> Result<Vec<QueueRow>, ReadModelError> {
    let rows = sqlx::query(
        "SELECT handler, paused, max_running, reason, changed_at, actor, version FROM queues ORDER BY handler",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(QueueRow {
                handler: row.try_get("handler")?,
                paused: row.try_get("paused")?,
                max_running: row.try_get("max_running")?,
                reason: row.try_get("reason")?,
                changed_at: Timestamp::from_millis(row.try_get("changed_at")?),
                actor: row.try_get("actor")?,
                version: Version(from_i64(row.try_get("version")?)),
            })
        })
        .collect()
}
