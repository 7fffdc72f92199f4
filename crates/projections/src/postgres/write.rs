//! Writing a batch: one statement per table, fed by one array per column.

use std::time::Duration;

use quillwork_app::ports::store::Head;
use quillwork_domain::id::Position;
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use super::{Database, Turn, text, to_i64};
use crate::changes::{Changes, Checkpoint};
use crate::job_summary::JobSummary;
use crate::job_timeline::TimelineEntry;
use crate::queues::QueueRow;
use crate::read_models::ReadModelError;

/// A commit that takes longer waits for a connection that nobody answers on.
const STUCK: Duration = Duration::from_secs(30);

/// A crash of the server may lose the last commits, never tear them; the log has what they contained.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL jit = off";

const MOVE_CHECKPOINT: &str = "
    UPDATE {schema}.checkpoint
    SET position = $1, hash = $2, lease_until = clock_timestamp() + interval '3 seconds'
    WHERE id = 1 AND position = $3 AND lease = $4";

const UPSERT_JOBS: &str = "
    INSERT INTO {schema}.job_summary (submitted_position, id, status, pipeline, tenant, due_at, finished_at, search,
                                      summary)
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                         $8::text[], $9::text[])
    ON CONFLICT (submitted_position) DO UPDATE SET
        status = excluded.status, due_at = excluded.due_at, finished_at = excluded.finished_at,
        summary = excluded.summary";

const INSERT_LABELS: &str = "
    INSERT INTO {schema}.job_label (label, submitted_position)
    SELECT * FROM unnest($1::text[], $2::bigint[])";

const INSERT_TIMELINE: &str = "
    INSERT INTO {schema}.job_timeline (submitted_position, stage_index, attempt, stage, worker, started_at, finished_at,
                                       outcome, class, error, retry_at)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                         $8::text[], $9::text[], $10::text[], $11::bigint[])";

const DELETE_LABELS: &str = "
    DELETE FROM {schema}.job_label l USING unnest($1::text[], $2::bigint[]) AS w (label, submitted_position)
    WHERE l.label = w.label AND l.submitted_position = w.submitted_position";

const DELETE_TIMELINE: &str = "DELETE FROM {schema}.job_timeline WHERE submitted_position = ANY($1)";

const DELETE_JOBS: &str = "DELETE FROM {schema}.job_summary WHERE submitted_position = ANY($1)";

const ADD_STATS: &str = "
    INSERT INTO {schema}.stats AS stats (name, value)
    SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (name) DO UPDATE SET value = stats.value + excluded.value";

const UPSERT_QUEUES: &str = "
    INSERT INTO {schema}.queues (handler, paused, max_running, reason, changed_at, actor, version)
    SELECT * FROM unnest($1::text[], $2::boolean[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bigint[])
    ON CONFLICT (handler) DO UPDATE SET
        paused = excluded.paused, max_running = excluded.max_running, reason = excluded.reason,
        changed_at = excluded.changed_at, actor = excluded.actor, version = excluded.version";

/// Writes rows and checkpoint, all or nothing, if the checkpoint is still `after` and it is still our turn.
pub(crate) async fn write(turn: &Turn, after: Checkpoint, changes: &Changes) -> Result<(), ReadModelError> {
    match tokio::time::timeout(STUCK, write_all(turn, after, changes)).await {
        Ok(written) => written,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()),
    }
}

async fn write_all(turn: &Turn, after: Checkpoint, changes: &Changes) -> Result<(), ReadModelError> {
    let database = &turn.database;
    let Changes { jobs, labels, timeline, removed, stats, queues, through } = changes;
    let mut jobs: Vec<&JobSummary> = jobs.values().flatten().collect();
    // In the order of the table, so that new rows are appended.
    jobs.sort_unstable_by_key(|job| job.submitted_position);

    let mut tx = database.pool().begin_with(BEGIN).await?;
    // First, so that who has lost the turn finds out before it writes, and waits for nobody afterwards.
    let checkpoint = (after, *through);
    if !move_checkpoint(&mut tx, turn, checkpoint).await? {
        return Err(ReadModelError::CheckpointMoved { expected: after.position });
    }
    if !jobs.is_empty() {
        upsert_jobs(&mut tx, database, &jobs).await?;
    }
    if !labels.is_empty() {
        let (names, positions): (Vec<_>, Vec<_>) =
            labels.iter().map(|(label, position)| (text(label).into_owned(), to_i64(position.0))).unzip();
        let insert = sqlx::query(database.sql(INSERT_LABELS)).bind(names).bind(positions);
        run(&mut tx, database, insert).await?;
    }
    if !timeline.is_empty() {
        insert_timeline(&mut tx, database, timeline).await?;
    }
    if !removed.is_empty() {
        delete(&mut tx, database, removed).await?;
    }
    let (names, values): (Vec<_>, Vec<_>) = stats.rows().into_iter().unzip();
    let names: Vec<_> = names.iter().map(|name| text(name).into_owned()).collect();
    run(&mut tx, database, sqlx::query(database.sql(ADD_STATS)).bind(names).bind(values)).await?;
    if !queues.is_empty() {
        let queues: Vec<&QueueRow> = queues.values().collect();
        upsert_queues(&mut tx, database, &queues).await?;
    }
    if !database.is_pooled() {
        let notify = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(database.schema())
            .bind(through.position.to_string());
        run(&mut tx, database, notify).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Empties the tables, which are not of this log.
pub(crate) async fn reset(turn: &Turn, found: Checkpoint) -> Result<Checkpoint, ReadModelError> {
    let database = &turn.database;
    let start = Checkpoint { position: Position::START, hash: Head::EMPTY.hash };
    let mut tx = database.pool().begin_with(BEGIN).await?;
    if !move_checkpoint(&mut tx, turn, (found, start)).await? {
        return Err(ReadModelError::CheckpointMoved { expected: found.position });
    }
    const TRUNCATE: &str = "TRUNCATE {schema}.job_summary, {schema}.job_label, {schema}.job_timeline, {schema}.queues, {schema}.stats";
    sqlx::raw_sql(database.sql(TRUNCATE)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(start)
}

async fn move_checkpoint(
    tx: &mut PgConnection,
    turn: &Turn,
    (after, through): (Checkpoint, Checkpoint),
) -> Result<bool, sqlx::Error> {
    let update = sqlx::query(turn.database.sql(MOVE_CHECKPOINT))
        .bind(to_i64(through.position.0))
        .bind(through.hash.to_string())
        .bind(to_i64(after.position.0))
        .bind(turn.lease);
    Ok(run(tx, &turn.database, update).await? == 1)
}

/// Returns how many rows were written.
async fn run(
    tx: &mut PgConnection,
    database: &Database,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<u64, sqlx::Error> {
    Ok(query.persistent(!database.is_pooled()).execute(tx).await?.rows_affected())
}

async fn upsert_jobs(
    tx: &mut PgConnection,
    database: &Database,
    jobs: &[&JobSummary],
) -> Result<(), ReadModelError> {
    let summaries: Vec<String> = jobs.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    let due_at = |job: &&JobSummary| match job.status {
        Status::Scheduled => millis(job.run_at),
        Status::Queued
        | Status::Running
        | Status::Retrying
        | Status::Completed
        | Status::Failed
        | Status::Cancelled => None,
    };
    let upsert = sqlx::query(database.sql(UPSERT_JOBS))
        .bind(column(jobs, |job| to_i64(job.submitted_position.0)))
        .bind(column(jobs, |job| job.id.0))
        .bind(column(jobs, |job| job.status.as_str()))
        .bind(column(jobs, |job| text(&job.pipeline).into_owned()))
        .bind(column(jobs, |job| text(&job.tenant).into_owned()))
        .bind(column(jobs, due_at))
        .bind(column(jobs, |job| millis(job.ended_at())))
        .bind(column(jobs, |job| text(&job.topic.to_lowercase()).into_owned()))
        .bind(summaries);
    run(tx, database, upsert).await?;
    Ok(())
}

/// Deletes all rows of jobs that left the log.
async fn delete(
    tx: &mut PgConnection,
    database: &Database,
    jobs: &[JobSummary],
) -> Result<(), ReadModelError> {
    let (labels, labelled): (Vec<_>, Vec<_>) = jobs
        .iter()
        .flat_map(|job| job.label_keys().map(|label| (label, to_i64(job.submitted_position.0))))
        .map(|(label, position)| (text(&label).into_owned(), position))
        .unzip();
    run(tx, database, sqlx::query(database.sql(DELETE_LABELS)).bind(labels).bind(labelled)).await?;
    for sql in [DELETE_TIMELINE, DELETE_JOBS] {
        let positions = column(jobs, |job| to_i64(job.submitted_position.0));
        run(tx, database, sqlx::query(database.sql(sql)).bind(positions)).await?;
    }
    Ok(())
}

async fn insert_timeline(
    tx: &mut PgConnection,
    database: &Database,
    timeline: &[(Position, TimelineEntry)],
) -> Result<(), ReadModelError> {
    let insert = sqlx::query(database.sql(INSERT_TIMELINE))
        .bind(column(timeline, |(job, _)| to_i64(job.0)))
        .bind(column(timeline, |(_, row)| i64::from(row.stage_index)))
        .bind(column(timeline, |(_, row)| i64::from(row.attempt.0)))
        .bind(column(timeline, |(_, row)| text(&row.stage).into_owned()))
        .bind(column(timeline, |(_, row)| optional(&row.worker)))
        .bind(column(timeline, |(_, row)| millis(row.started_at)))
        .bind(column(timeline, |(_, row)| millis(row.finished_at)))
        .bind(column(timeline, |(_, row)| row.outcome.as_str()))
        .bind(column(timeline, |(_, row)| optional(&row.class)))
        .bind(column(timeline, |(_, row)| optional(&row.error)))
        .bind(column(timeline, |(_, row)| millis(row.retry_at)));
    run(tx, database, insert).await?;
    Ok(())
}

async fn upsert_queues(
    tx: &mut PgConnection,
    database: &Database,
    queues: &[&QueueRow],
) -> Result<(), ReadModelError> {
    let upsert = sqlx::query(database.sql(UPSERT_QUEUES))
        .bind(column(queues, |row| text(&row.handler).into_owned()))
        .bind(column(queues, |row| row.paused))
        .bind(column(queues, |row| row.max_running.map(i64::from)))
        .bind(column(queues, |row| optional(&row.reason)))
        .bind(column(queues, |row| row.changed_at.as_millis()))
        .bind(column(queues, |row| text(&row.actor).into_owned()))
        .bind(column(queues, |row| to_i64(row.version.0)));
    run(tx, database, upsert).await?;
    Ok(())
}

fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn optional(value: &Option<String>) -> Option<String> {
    value.as_deref().map(|value| text(value).into_owned())
}

fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millis)
}
