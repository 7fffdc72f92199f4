//! What clients ask, but for lists of jobs.

use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::time::Timestamp;
use rusqlite::{Connection, params};

use super::{JOB_COLUMNS, Readers, row_of, summary};
use crate::job_row::outcome_of;
use crate::job_summary::JobSummary;
use crate::job_timeline::{TimelineEntry, stage_of};
use crate::queues::QueueRow;
use crate::read_models::ReadModelError;
use crate::stats::Stats;

/// The row of one job.
pub(crate) fn job(readers: &Readers, id: JobId) -> Result<Option<JobSummary>, ReadModelError> {
    readers.read(|connection| row_of(connection, id))
}

/// Up to `limit` jobs that ended before `cutoff`, in the order of their ends, after a time and a position.
pub(crate) async fn finished(
    readers: &Readers,
    cutoff: Timestamp,
    (ended, position): (Timestamp, Position),
    limit: usize,
) -> Result<Vec<JobSummary>, ReadModelError> {
    let select = format!(
        "SELECT {JOB_COLUMNS} FROM job_summary
         WHERE finished_at < ?1 AND (finished_at, submitted_position) > (?2, ?3)
         ORDER BY finished_at, submitted_position LIMIT ?4"
    );
    readers
        .read_long(move |connection| {
            let mut select = connection.prepare_cached(&select)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = select
                .query_and_then(params![cutoff.as_millis(), ended.as_millis(), position.0, limit], summary)?;
            rows.collect()
        })
        .await
}

/// The attempts of `job` that have ended, in order.
pub(crate) fn timeline(readers: &Readers, job: &JobSummary) -> Result<Vec<TimelineEntry>, ReadModelError> {
    readers.read(|connection| {
        let mut select = connection.prepare_cached(
            "SELECT stage_index, attempt, outcome, worker, started_at, finished_at, class, error, retry_at
             FROM job_timeline WHERE submitted_position = ?1 ORDER BY stage_index, attempt",
        )?;
        let rows = select.query_and_then([job.submitted_position.0], |row| {
            let time = |column| -> rusqlite::Result<_> {
                Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
            };
            let stage_index = row.get(0)?;
            Ok(TimelineEntry {
                stage_index,
                stage: stage_of(job, stage_index),
                attempt: Attempt(row.get(1)?),
                outcome: outcome_of(row.get(2)?)?,
                worker: row.get(3)?,
                started_at: time(4)?,
                finished_at: time(5)?,
                class: row.get(6)?,
                error: row.get(7)?,
                retry_at: time(8)?,
            })
        })?;
        rows.collect()
    })
}

/// The stored counters and the position that they belong to.
pub(crate) fn stats(readers: &Readers) -> Result<Stats, ReadModelError> {
    readers.read(|connection| {
        // One statement, so that counters and position are of one commit.
        let mut select = connection.prepare_cached(
            "SELECT name, value FROM stats UNION ALL SELECT 'position', position FROM checkpoint WHERE id = 1",
        )?;
        let mut rows = select.query([])?;
        let mut stats = Stats::default();
        while let Some(row) = rows.next()? {
            let value: i64 = row.get(1)?;
            match row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)? {
                "position" => stats.position = Position(u64::try_from(value).unwrap_or(0)),
                name => stats.set(name, value),
            }
        }
        Ok(stats)
    })
}

/// How many scheduled jobs are due at `now`.
pub(crate) async fn due(readers: &Readers, now: Timestamp) -> Result<u64, ReadModelError> {
    readers
        .read_long(move |connection| {
            let mut count =
                connection.prepare_cached("SELECT count(*) FROM job_summary WHERE due_at <= ?1")?;
            Ok(count.query_row([now.as_millis()], |row| row.get(0))?)
        })
        .await
}

/// The queues' controls, by handler.
pub(crate) fn queues(readers: &Readers) -> Result<Vec<QueueRow>, ReadModelError> {
    readers.read(queue_rows)
}

/// The same.
pub(super) fn queue_rows(connection: &Connection) -> Result<Vec<QueueRow>, ReadModelError> {
    let mut select = connection.prepare_cached(
        "SELECT handler, paused, max_running, reason, changed_at, actor, version FROM queues ORDER BY handler",
    )?;
    let rows = select.query_map([], |row| {
        Ok(QueueRow {
            handler: row.get(0)?,
            paused: row.get(1)?,
            max_running: row.get(2)?,
            reason: row.get(3)?,
            changed_at: Timestamp::from_millis(row.get(4)?),
            actor: row.get(5)?,
            version: Version(row.get(6)?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
