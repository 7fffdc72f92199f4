//! Writing a batch: one transaction, one prepared statement a row.

use quillwork_domain::id::Position;
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::content;
use crate::changes::{Changed, Changes, Checkpoint};
use crate::job_row::{self, due_at, ended_at, outcome_code, status_code};
use crate::job_summary::JobSummary;
use crate::job_timeline::TimelineEntry;
use crate::read_models::ReadModelError;

const MOVE_CHECKPOINT: &str = "UPDATE checkpoint SET position = ?1, hash = ?2 WHERE id = 1 AND position = ?3";

const INSERT_JOB: &str = "
    INSERT INTO job_summary (submitted_position, id, status, pipeline, tenant, due_at, finished_at, topic, search, details)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

const UPDATE_JOB: &str = "
    UPDATE job_summary SET status = ?2, due_at = ?3, finished_at = ?4, details = ?5 WHERE submitted_position = ?1";

/// For a job whose status is what it was: no index has news.
const UPDATE_DETAILS: &str = "UPDATE job_summary SET details = ?2 WHERE submitted_position = ?1";

const INSERT_LABEL: &str = "INSERT INTO job_label (label, submitted_position) VALUES (?1, ?2)";

const INSERT_ATTEMPT: &str = "
    INSERT INTO job_timeline (submitted_position, stage_index, attempt, outcome, worker, started_at, finished_at, class, error,
                              retry_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

const DELETE_LABEL: &str = "DELETE FROM job_label WHERE label = ?1 AND submitted_position = ?2";

const DELETE_TIMELINE: &str = "DELETE FROM job_timeline WHERE submitted_position = ?1";

const DELETE_JOB: &str = "DELETE FROM job_summary WHERE submitted_position = ?1";

const ADD_STATS: &str = "
    INSERT INTO stats (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value";

const UPSERT_QUEUE: &str = "
    INSERT OR REPLACE INTO queues (handler, paused, max_running, reason, changed_at, actor, version)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Writes rows and checkpoint, all or nothing, if the checkpoint is still `after`.
pub(super) fn write(
    connection: &mut Connection,
    after: Checkpoint,
    changes: &Changes,
) -> Result<(), ReadModelError> {
    let Changes { jobs, labels, timeline, removed, stats, usage, queues, contents, through } = changes;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;

    // First, so that a second projector finds out before it writes.
    let moved = tx.prepare_cached(MOVE_CHECKPOINT)?.execute(params![
        through.position.0,
        through.hash.to_string(),
        after.position.0
    ])?;
    if moved != 1 {
        return Err(ReadModelError::CheckpointMoved { expected: after.position });
    }

    let mut jobs: Vec<_> = jobs.values().filter_map(Changed::row).collect();
    // In the order of the table, so that new rows are appended.
    jobs.sort_unstable_by_key(|(job, _)| job.submitted_position);
    write_jobs(&tx, &jobs)?;

    for (label, submitted_position) in labels {
        tx.prepare_cached(INSERT_LABEL)?.execute(params![label, submitted_position.0])?;
    }

    insert_timeline(&tx, timeline)?;
    for job in removed {
        for label in job.label_keys() {
            tx.prepare_cached(DELETE_LABEL)?.execute(params![label, job.submitted_position.0])?;
        }
        for delete in [DELETE_TIMELINE, DELETE_JOB] {
            tx.prepare_cached(delete)?.execute([job.submitted_position.0])?;
        }
    }

    for (name, value) in stats.rows() {
        tx.prepare_cached(ADD_STATS)?.execute(params![name, value])?;
    }
    super::usage::add(&tx, usage)?;
    for row in queues.values() {
        tx.prepare_cached(UPSERT_QUEUE)?.execute(params![
            row.handler,
            row.paused,
            row.max_running,
            row.reason,
            row.changed_at.as_millis(),
            row.actor,
            row.version.0,
        ])?;
    }
    content::write(&tx, contents)?;
    tx.commit()?;
    Ok(())
}

fn write_jobs(tx: &Transaction<'_>, jobs: &[(&JobSummary, Option<Status>)]) -> Result<(), ReadModelError> {
    let mut insert = tx.prepare_cached(INSERT_JOB)?;
    let mut update = tx.prepare_cached(UPDATE_JOB)?;
    let mut update_details = tx.prepare_cached(UPDATE_DETAILS)?;
    for (job, stored) in jobs {
        let position = job.submitted_position.0;
        let details = job_row::details(job)?;
        let written = match stored {
            None => insert.execute(params![
                position,
                job.id.0.as_bytes(),
                status_code(job.status),
                job.pipeline,
                job.tenant,
                due_at(job),
                ended_at(job),
                job.topic,
                job_row::search(&job.topic),
                details,
            ])?,
            Some(status) if *status == job.status && !status.is_terminal() => {
                update_details.execute(params![position, details])?
            }
            Some(_) => update.execute(params![
                position,
                status_code(job.status),
                due_at(job),
                ended_at(job),
                details
            ])?,
        };
        if written != 1 {
            return Err(ReadModelError::Damaged(format!("the row of job {} is gone", job.id)));
        }
    }
    Ok(())
}

fn insert_timeline(
    tx: &Transaction<'_>,
    timeline: &[(Position, TimelineEntry)],
) -> Result<(), ReadModelError> {
    let mut insert = tx.prepare_cached(INSERT_ATTEMPT)?;
    for (submitted_position, attempt) in timeline {
        insert.execute(params![
            submitted_position.0,
            attempt.stage_index,
            attempt.attempt.0,
            outcome_code(attempt.outcome),
            attempt.worker,
            attempt.started_at.map(Timestamp::as_millis),
            attempt.finished_at.map(Timestamp::as_millis),
            attempt.class,
            attempt.error,
            attempt.retry_at.map(Timestamp::as_millis),
        ])?;
    }
    Ok(())
}
