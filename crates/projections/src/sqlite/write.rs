//! Writing a batch: one statement per table, fed by one JSON array.
//!
//! A statement costs two thread changes in the driver, and a parameter list has a limit; a JSON array has neither.

use std::sync::LazyLock;

use quillwork_domain::id::JobId;
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use sqlx::{Connection, Row, SqliteConnection};

use super::to_i64;
use crate::changes::{Changes, Checkpoint};
use crate::job_summary::JobSummary;
use crate::read_models::ReadModelError;

/// Rows that one statement writes at most; smaller ones write the rest, so that few texts need be prepared.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

/// Written as rows of parameters, one text per chunk size: a summary is too long to go through JSON in JSON.
static UPSERT_JOBS: LazyLock<[String; 4]> = LazyLock::new(|| {
    CHUNKS.map(|n_rows| {
        let rows = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; n_rows].join(", ");
        format!(
            "INSERT INTO job_summary (submitted_position, id, status, pipeline, tenant, due_at, finished_at, search, summary)
             VALUES {rows}
             ON CONFLICT (submitted_position) DO UPDATE SET
                 status = excluded.status, due_at = excluded.due_at, finished_at = excluded.finished_at,
                 summary = excluded.summary"
        )
    })
});

const INSERT_LABELS: &str = "
    INSERT INTO job_label (label, submitted_position)
    SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1)";

const INSERT_TIMELINE: &str = "
    INSERT INTO job_timeline (submitted_position, stage_index, attempt, stage, worker, started_at, finished_at,
                              outcome, class, error, retry_at)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
           value ->> 8, value ->> 9, value ->> 10
    FROM jsonb_each(?1)";

const DELETE_LABELS: &str = "
    DELETE FROM job_label
    WHERE (label, submitted_position) IN (SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1))";

const DELETE_TIMELINE: &str =
    "DELETE FROM job_timeline WHERE submitted_position IN (SELECT value FROM json_each(?1))";

const DELETE_JOBS: &str =
    "DELETE FROM job_summary WHERE submitted_position IN (SELECT value FROM json_each(?1))";

const ADD_STATS: &str = "
    INSERT INTO stats (name, value)
    SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1) WHERE true
    ON CONFLICT (name) DO UPDATE SET value = value + excluded.value";

const UPSERT_QUEUE: &str = "
    INSERT OR REPLACE INTO queues (handler, paused, max_running, reason, changed_at, actor, version)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const MOVE_CHECKPOINT: &str = "UPDATE checkpoint SET position = ?1, hash = ?2 WHERE id = 1 AND position = ?3";

const SELECT_ROWS: &str =
    "SELECT summary FROM job_summary WHERE id IN (SELECT unhex(value) FROM json_each(?1))";

/// The rows of `ids`, in no order; jobs without a row are left out.
pub(crate) async fn rows(
    connection: &mut SqliteConnection,
    ids: &[JobId],
) -> Result<Vec<JobSummary>, ReadModelError> {
    let ids: Vec<_> = ids.iter().map(|id| id.0.simple()).collect();
    let rows = sqlx::query(SELECT_ROWS).bind(serde_json::to_string(&ids)?).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(serde_json::from_str(row.try_get::<&str, _>("summary")?)?)).collect()
}

/// Writes rows and checkpoint, all or nothing, if the checkpoint is still `after`.
pub(crate) async fn write(
    connection: &mut SqliteConnection,
    after: Checkpoint,
    changes: &Changes,
) -> Result<(), ReadModelError> {
    let Changes { jobs, labels, timeline, removed, stats, queues, through } = changes;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;

    // First, so that a second projector finds out before it writes.
    let moved = sqlx::query(MOVE_CHECKPOINT)
        .bind(to_i64(through.position.0))
        .bind(through.hash.to_string())
        .bind(to_i64(after.position.0))
        .execute(&mut *tx)
        .await?;
    if moved.rows_affected() != 1 {
        return Err(ReadModelError::CheckpointMoved { expected: after.position });
    }

    let mut jobs: Vec<&JobSummary> = jobs.values().flatten().collect();
    // In the order of the table, so that new rows are appended.
    jobs.sort_unstable_by_key(|job| job.submitted_position);
    let mut rest = jobs.as_slice();
    for (n_rows, sql) in CHUNKS.into_iter().zip(UPSERT_JOBS.iter()) {
        while let Some((chunk, after)) = rest.split_at_checked(n_rows) {
            rest = after;
            let mut upsert = sqlx::query(sql.as_str());
            for job in chunk {
                let due_at = if job.status == Status::Scheduled { job.run_at } else { None };
                upsert = upsert
                    .bind(to_i64(job.submitted_position.0))
                    .bind(job.id.0.as_bytes().as_slice())
                    .bind(job.status.as_str())
                    .bind(&job.pipeline)
                    .bind(&job.tenant)
                    .bind(due_at.map(Timestamp::as_millis))
                    .bind(job.ended_at().map(Timestamp::as_millis))
                    .bind(job.topic.to_lowercase())
                    .bind(serde_json::to_string(job)?);
            }
            upsert.execute(&mut *tx).await?;
        }
    }

    if !labels.is_empty() {
        sqlx::query(INSERT_LABELS).bind(serde_json::to_string(labels)?).execute(&mut *tx).await?;
    }

    if !timeline.is_empty() {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        let timeline: Vec<_> = timeline
            .iter()
            .map(|(submitted_position, attempt)| {
                (
                    submitted_position,
                    attempt.stage_index,
                    attempt.attempt,
                    &attempt.stage,
                    &attempt.worker,
                    millis(attempt.started_at),
                    millis(attempt.finished_at),
                    attempt.outcome,
                    &attempt.class,
                    &attempt.error,
                    millis(attempt.retry_at),
                )
            })
            .collect();
        sqlx::query(INSERT_TIMELINE).bind(serde_json::to_string(&timeline)?).execute(&mut *tx).await?;
    }

    if !removed.is_empty() {
        let positions: Vec<_> = removed.iter().map(|job| job.submitted_position).collect();
        let positions = serde_json::to_string(&positions)?;
        let labels: Vec<_> = removed
            .iter()
            .flat_map(|job| job.label_keys().map(|label| (label, job.submitted_position)))
            .collect();
        sqlx::query(DELETE_LABELS).bind(serde_json::to_string(&labels)?).execute(&mut *tx).await?;
        sqlx::query(DELETE_TIMELINE).bind(&positions).execute(&mut *tx).await?;
        sqlx::query(DELETE_JOBS).bind(&positions).execute(&mut *tx).await?;
    }

    sqlx::query(ADD_STATS).bind(serde_json::to_string(&stats.rows())?).execute(&mut *tx).await?;
    // Operators make few of these.
    for row in queues.values() {
        sqlx::query(UPSERT_QUEUE)
            .bind(&row.handler)
            .bind(row.paused)
            .bind(row.max_running)
            .bind(&row.reason)
            .bind(row.changed_at.as_millis())
            .bind(&row.actor)
            .bind(to_i64(row.version.0))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}
