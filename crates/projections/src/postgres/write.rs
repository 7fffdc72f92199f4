//! Writing a batch: one statement per table, fed by one array per column.

use std::time::Duration;

use quillwork_app::ports::store::Head;
use quillwork_domain::id::Position;
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use super::{Database, Turn, content, text, to_i64};
use crate::changes::{Changed, Changes, Checkpoint};
use crate::job_row::{self, due_at, ended_at, outcome_code, status_code};
use crate::job_summary::JobSummary;
use crate::job_timeline::TimelineEntry;
use crate::queues::QueueRow;
use crate::read_models::ReadModelError;

/// A commit that takes longer waits for a connection that nobody answers on.
const STUCK: Duration = Duration::from_secs(30);

/// A crash of the server may lose the last commits, never tear them; the log has what they contained. Whatever is known
/// of the tables, their rows are found by their keys.
const BEGIN: &str = "
    BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL jit = off;
    SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

const MOVE_CHECKPOINT: &str = "
    UPDATE {schema}.checkpoint
    SET position = $1, hash = $2, lease_until = clock_timestamp() + interval '3 seconds'
    WHERE id = 1 AND position = $3 AND lease = $4";

/// One `unnest` for each column: one for all would put every row into a buffer first.
const INSERT_JOBS: &str = "
    INSERT INTO {schema}.job_summary (submitted_position, id, status, pipeline, tenant, due_at, finished_at, topic, search,
                                      details)
    SELECT unnest($1::bigint[]), unnest($2::uuid[]), unnest($3::smallint[]), unnest($4::text[]), unnest($5::text[]),
           unnest($6::bigint[]), unnest($7::bigint[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[])";

const UPDATE_JOBS: &str = "
    UPDATE {schema}.job_summary j
    SET status = w.status, due_at = w.due_at, finished_at = w.finished_at, details = w.details
    FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::text[])
         AS w (submitted_position, status, due_at, finished_at, details)
    WHERE j.submitted_position = w.submitted_position";

const INSERT_LABELS: &str = "
    INSERT INTO {schema}.job_label (label, submitted_position)
    SELECT * FROM unnest($1::text[], $2::bigint[])";

const INSERT_TIMELINE: &str = "
    INSERT INTO {schema}.job_timeline (submitted_position, stage_index, attempt, outcome, worker, started_at, finished_at,
                                       class, error, retry_at)
    SELECT unnest($1::bigint[]), unnest($2::integer[]), unnest($3::integer[]), unnest($4::smallint[]), unnest($5::text[]),
           unnest($6::bigint[]), unnest($7::bigint[]), unnest($8::text[]), unnest($9::text[]), unnest($10::bigint[])";

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
    let Changes { jobs, labels, timeline, removed, stats, usage, queues, contents, through } = changes;
    let mut jobs: Vec<_> = jobs.values().filter_map(Changed::row).collect();
    // In the order of the table, so that new rows are appended.
    jobs.sort_unstable_by_key(|(job, _)| job.submitted_position);
    let (new, known): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|(_, stored)| stored.is_none());

    let mut tx = database.pool().begin_with(BEGIN).await?;
    // First, so that who has lost the turn finds out before it writes, and waits for nobody afterwards.
    let checkpoint = (after, *through);
    if !move_checkpoint(&mut tx, turn, checkpoint).await? {
        return Err(ReadModelError::CheckpointMoved { expected: after.position });
    }
    if !new.is_empty() {
        insert_jobs(&mut tx, database, &new).await?;
    }
    if !known.is_empty() {
        update_jobs(&mut tx, database, &known).await?;
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
    if !usage.0.is_empty() {
        super::usage::add(&mut tx, database, usage).await?;
    }
    if !queues.is_empty() {
        let queues: Vec<&QueueRow> = queues.values().collect();
        upsert_queues(&mut tx, database, &queues).await?;
    }
    content::write(&mut tx, database, contents).await?;
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
    const TRUNCATE: &str = "
        TRUNCATE {schema}.job_summary, {schema}.job_label, {schema}.job_timeline, {schema}.queues, {schema}.stats,
                 {schema}.content_analytics, {schema}.content_rater, {schema}.usage";
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
pub(super) async fn run(
    tx: &mut PgConnection,
    database: &Database,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<u64, sqlx::Error> {
    Ok(query.persistent(!database.is_pooled()).execute(tx).await?.rows_affected())
}

/// A job, and the status in its row.
type Row<'a> = (&'a JobSummary, Option<Status>);

async fn insert_jobs(
    tx: &mut PgConnection,
    database: &Database,
    jobs: &[Row<'_>],
) -> Result<(), ReadModelError> {
    let search = |topic: &str| job_row::search(topic).map(|search| text(&search).into_owned());
    let insert = sqlx::query(database.sql(INSERT_JOBS))
        .bind(column(jobs, |(job, _)| to_i64(job.submitted_position.0)))
        .bind(column(jobs, |(job, _)| job.id.0))
        .bind(column(jobs, |(job, _)| status_code(job.status)))
        .bind(column(jobs, |(job, _)| text(&job.pipeline).into_owned()))
        .bind(column(jobs, |(job, _)| text(&job.tenant).into_owned()))
        .bind(column(jobs, |(job, _)| due_at(job)))
        .bind(column(jobs, |(job, _)| ended_at(job)))
        .bind(column(jobs, |(job, _)| text(&job.topic).into_owned()))
        .bind(column(jobs, |(job, _)| search(&job.topic)))
        .bind(details(jobs)?);
    run(tx, database, insert).await?;
    Ok(())
}

async fn update_jobs(
    tx: &mut PgConnection,
    database: &Database,
    jobs: &[Row<'_>],
) -> Result<(), ReadModelError> {
    let update = sqlx::query(database.sql(UPDATE_JOBS))
        .bind(column(jobs, |(job, _)| to_i64(job.submitted_position.0)))
        .bind(column(jobs, |(job, _)| status_code(job.status)))
        .bind(column(jobs, |(job, _)| due_at(job)))
        .bind(column(jobs, |(job, _)| ended_at(job)))
        .bind(details(jobs)?);
    if run(tx, database, update).await? != jobs.len() as u64 {
        return Err(ReadModelError::Damaged("rows of jobs are gone".to_owned()));
    }
    Ok(())
}

fn details(jobs: &[Row<'_>]) -> Result<Vec<String>, serde_json::Error> {
    jobs.iter().map(|(job, _)| job_row::details(job)).collect()
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
        .bind(column(timeline, |(_, row)| small(row.stage_index)))
        .bind(column(timeline, |(_, row)| small(row.attempt.0)))
        .bind(column(timeline, |(_, row)| outcome_code(row.outcome)))
        .bind(column(timeline, |(_, row)| optional(&row.worker)))
        .bind(column(timeline, |(_, row)| millis(row.started_at)))
        .bind(column(timeline, |(_, row)| millis(row.finished_at)))
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

pub(super) fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// PostgreSQL's integers are signed. What is stored here is never beyond their range.
fn small(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn optional(value: &Option<String>) -> Option<String> {
    value.as_deref().map(|value| text(value).into_owned())
}

fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millis)
}
