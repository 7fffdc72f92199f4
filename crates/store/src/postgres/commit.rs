//! One batch, one statement.

use quillwork_app::ports::store::{
    Batch, Entry, Head, Holder, IdempotencyKey, KeyOwner, LeaseToken, Removal, Task, TaskKey, TaskWrite,
};
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use sqlx::Row as _;
use uuid::Uuid;

use crate::postgres::errors::{is_fenced, is_taken};
use crate::postgres::news::{self, Audience};
use crate::postgres::rows::{self, signed};
use crate::postgres::session::{Failure, Session, Statement};

/// Compares and sets the head; if that was the head, writes everything else.
///
/// The head comes first, because every other part asks whether it moved: its lock is taken before any other, so writers
/// cannot lock each other out. A part that waited for that lock sees the tables as they were before the wait; then the
/// head has moved, too, and nothing is written. Only what a writer does without moving the head (a new fence, another
/// queue) can come between, and then the tasks are looked at anew as they are locked.
///
/// Rows that are inserted come from one `unnest` for each column: one for all would put every row into a buffer first.
///
/// Each task is found by its key, in a subquery that cannot be joined the other way round (`OFFSET 0`), and then by its
/// place, for which there is no other plan. A queue that was vacuumed while it was empty is thought to have hardly a row
/// ever after, and a plain join would compare every task with every row of the batch.
///
/// If a task is not held as presumed, the division by zero voids everything.
pub(super) const COMMIT: &str = "WITH head AS (
       UPDATE quillwork.head h
       SET position = $4, hash = $5, backlog = h.backlog + $6, queue = CASE WHEN $7 THEN $4 ELSE h.queue END
       WHERE h.id = 1 AND h.position = $1 AND h.hash = $2 AND h.fence = $3
       RETURNING h.id
     ), events AS (
       INSERT INTO quillwork.events
         (position, stream, version, event_id, kind, schema_version, data, meta, recorded_at, hash)
       SELECT unnest($8::bigint[]), unnest($9::uuid[]), unnest($10::bigint[]), unnest($11::uuid[]), unnest($12::text[]),
         unnest($13::integer[]), unnest($14::bytea[]), unnest($15::bytea[]), unnest($16::bigint[]), unnest($17::bytea[])
       WHERE EXISTS (SELECT FROM head)
     ), blobs AS (
       INSERT INTO quillwork.blobs (sha256, bytes, zstd)
       SELECT * FROM unnest($18::bytea[], $19::bigint[], $20::bytea[]) WHERE EXISTS (SELECT FROM head)
       ON CONFLICT DO NOTHING
     ), keys AS (
       INSERT INTO quillwork.idempotency_keys (tenant, key, stream, digest)
       SELECT * FROM unnest($21::text[], $22::text[], $23::uuid[], $24::bytea[]) WHERE EXISTS (SELECT FROM head)
     ), deleted AS (
       DELETE FROM quillwork.tasks t
       USING unnest($25::uuid[], $26::integer[], $27::boolean[], $28::bigint[]) AS w (stream, stage, anyone, holder)
       CROSS JOIN LATERAL (
         SELECT k.ctid FROM quillwork.tasks k WHERE k.stream = w.stream AND k.stage = w.stage OFFSET 0
       ) found
       WHERE t.ctid = found.ctid AND (w.anyone OR t.lease IS NOT DISTINCT FROM w.holder)
         AND EXISTS (SELECT FROM head)
       RETURNING t.stage
     ), moved AS (
       UPDATE quillwork.tasks t SET lease = w.lease, run_at = coalesce(w.run_at, t.run_at)
       FROM unnest($29::uuid[], $30::integer[], $31::boolean[], $32::bigint[], $33::bigint[], $34::bigint[])
         AS w (stream, stage, anyone, holder, lease, run_at)
       CROSS JOIN LATERAL (
         SELECT k.ctid FROM quillwork.tasks k WHERE k.stream = w.stream AND k.stage = w.stage OFFSET 0
       ) found
       WHERE t.ctid = found.ctid AND (w.anyone OR t.lease IS NOT DISTINCT FROM w.holder)
         AND EXISTS (SELECT FROM head)
       RETURNING t.stage
     ), inserted AS (
       INSERT INTO quillwork.tasks (stream, stage, handler, tenant, priority, run_at, lease)
       SELECT unnest($35::uuid[]), unnest($36::integer[]), unnest($37::text[]), unnest($38::text[]),
         unnest($39::smallint[]), unnest($40::bigint[]), unnest($41::bigint[])
       WHERE EXISTS (SELECT FROM head)
     )
     SELECT n.head,
       1 / CASE WHEN n.head = 0 OR n.tasks = cardinality($25) + cardinality($29) THEN 1 ELSE 0 END,
       CASE WHEN n.head = 1 AND $42::text IS NOT NULL THEN pg_notify('quillwork', $42)::text END
     FROM (
       SELECT (SELECT count(*) FROM head) AS head,
         (SELECT count(*) FROM deleted) + (SELECT count(*) FROM moved) AS tasks
     ) n";

/// Which of these tasks are not held as presumed.
pub(super) const MISMATCHES: &str = "SELECT w.stream, w.stage
     FROM unnest($1::uuid[], $2::integer[], $3::boolean[], $4::bigint[]) AS w (stream, stage, anyone, holder)
     WHERE 0 = (
       SELECT count(*) FROM quillwork.tasks t
       WHERE t.stream = w.stream AND t.stage = w.stage AND (w.anyone OR t.lease IS NOT DISTINCT FROM w.holder)
     )";

pub(super) const INSERT_TASKS: &str = "INSERT INTO quillwork.tasks
       (stream, stage, handler, tenant, priority, run_at, lease)
     SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::smallint[], $6::bigint[], $7::bigint[])";

pub(super) const INSERT_KEYS: &str = "INSERT INTO quillwork.idempotency_keys (tenant, key, stream, digest)
     SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bytea[])";

/// Of one transaction with the commit, and behind it: the lock of the head is held by then.
pub(super) const REMOVE: &str = "WITH events AS (
       DELETE FROM quillwork.events e USING unnest($1::uuid[]) AS w (stream)
       WHERE e.stream = w.stream RETURNING e.stream
     ), keys AS (
       DELETE FROM quillwork.idempotency_keys k USING unnest($2::text[], $3::text[]) AS w (tenant, key)
       WHERE k.tenant = w.tenant AND k.key = w.key
     ), runs AS (
       INSERT INTO quillwork.archived_runs (first, last, before, hash)
       SELECT * FROM unnest($4::bigint[], $5::bigint[], $6::bytea[], $8::bytea[])
     )
     SELECT count(*) FROM unnest($1::uuid[], $7::bigint[]) AS w (stream, version)
     JOIN (SELECT e.stream, count(*) AS n FROM events e GROUP BY e.stream) r ON r.stream = w.stream AND r.n = w.version";

/// What became of a batch.
pub(super) enum Outcome {
    Written,
    HeadMoved,
    Fenced(Vec<TaskKey>),
}

/// Writes a batch; in the transaction that holds the lock if there is one, which ends with it.
pub(super) async fn commit(
    session: &mut Session,
    expected: Head,
    batch: &Batch,
    audience: Audience,
) -> Result<Outcome, Failure> {
    // By itself the statement is a transaction. In a pool its answer could get lost and the statement be done much later;
    // a transaction needs one more word of us for that.
    let removes = !batch.removal.is_empty();
    if (session.pooled() || removes) && !session.in_transaction() {
        session.begin("").await?;
    }
    let presumed = Presumed::of(batch);
    let tells = !session.pooled() && audience.wants(&batch.news);
    let news = tells.then(|| news::write(expected, batch));
    let statement = statement(expected, session.fence, batch, &presumed, news)?;
    match session.one(statement).await {
        Ok(row) if row.try_get::<i64, _>(0)? == 1 => {
            if removes && !remove(session, &batch.removal).await? {
                session.rollback().await?;
                return Ok(Outcome::HeadMoved);
            }
            if session.in_transaction() {
                session.commit().await?;
            }
            Ok(Outcome::Written)
        }
        Ok(_) => {
            session.rollback().await?;
            Ok(Outcome::HeadMoved)
        }
        // What the batch was planned on is not what is stored: plan it again.
        Err(Failure::Error(error)) if is_taken(&error) => {
            session.rollback().await?;
            Ok(Outcome::HeadMoved)
        }
        Err(Failure::Error(error)) if is_fenced(&error) => {
            session.rollback().await?;
            presumed.mismatches(session).await
        }
        Err(failure) => Err(failure),
    }
}

/// Removes what leaves the log; false if a stream is not as presumed.
async fn remove(session: &mut Session, removal: &Removal) -> Result<bool, Failure> {
    let Removal { streams, keys, runs } = removal;
    let query = sqlx::query(REMOVE)
        .bind(streams.iter().map(|(stream, _)| stream.to_uuid()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| &*key.tenant).collect::<Vec<&str>>())
        .bind(keys.iter().map(|key| &*key.key).collect::<Vec<&str>>())
        .bind(runs.iter().map(|run| signed(run.first.0)).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| signed(run.last.0)).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.before.0).collect::<Vec<_>>())
        .bind(streams.iter().map(|(_, version)| signed(version.0)).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.hash.0).collect::<Vec<_>>());
    Ok(rows::unsigned(&session.one(query).await?, 0)? == streams.len() as u64)
}

fn statement<'a>(
    expected: Head,
    fence: i64,
    batch: &'a Batch,
    presumed: &Presumed,
    news: Option<String>,
) -> Result<Statement<'a>, Failure> {
    let last = batch.entries.last().map(|entry| &entry.recorded);
    let head = last.map_or(expected, |last| Head { position: last.position, hash: last.hash });
    let inserted: Vec<(&Task, Option<LeaseToken>)> = batch
        .tasks
        .iter()
        .filter_map(|write| match write {
            TaskWrite::Insert { task, lease } => Some((task, *lease)),
            TaskWrite::Move { .. } | TaskWrite::Delete { .. } => None,
        })
        .collect();
    let growth = signed(inserted.len() as u64) - signed(presumed.deletes.len() as u64);
    let query = sqlx::query(COMMIT)
        .bind(signed(expected.position.0))
        .bind(expected.hash.0)
        .bind(fence)
        .bind(signed(head.position.0))
        .bind(head.hash.0)
        .bind(growth)
        .bind(batch.adds_to_queue());
    let query = bind_events(query, &batch.entries)?;
    let query = query
        .bind(batch.blobs.iter().map(|blob| blob.sha256.0).collect::<Vec<_>>())
        .bind(batch.blobs.iter().map(|blob| signed(blob.bytes)).collect::<Vec<_>>())
        .bind(batch.blobs.iter().map(|blob| &*blob.zstd).collect::<Vec<&[u8]>>());
    let query = bind_keys(query, &batch.keys);
    let query = presumed.deletes.bind(query);
    let query = presumed.moves.bind(query);
    let query = query.bind(presumed.leases.clone()).bind(presumed.run_ats.clone());
    Ok(bind_tasks(query, &inserted).bind(news))
}

fn bind_events<'a>(query: Statement<'a>, entries: &'a [Entry]) -> Result<Statement<'a>, Failure> {
    let events = || entries.iter().map(|entry| &entry.recorded);
    let meta = |event: &quillwork_domain::envelope::Recorded| {
        wire::encode_meta(&event.meta).map_err(|error| Failure::Error(sqlx::Error::Encode(Box::new(error))))
    };
    let metas = events().map(meta).collect::<Result<Vec<_>, _>>()?;
    Ok(query
        .bind(events().map(|event| signed(event.position.0)).collect::<Vec<_>>())
        .bind(events().map(|event| event.stream.to_uuid()).collect::<Vec<_>>())
        .bind(events().map(|event| signed(event.version.0)).collect::<Vec<_>>())
        .bind(events().map(|event| event.event_id).collect::<Vec<_>>())
        .bind(events().map(|event| &*event.kind).collect::<Vec<&str>>())
        .bind(events().map(|event| i32::from(event.schema_version)).collect::<Vec<_>>())
        .bind(events().map(|event| &*event.data).collect::<Vec<&[u8]>>())
        .bind(metas)
        .bind(events().map(|event| event.recorded_at.as_millis()).collect::<Vec<_>>())
        .bind(events().map(|event| event.hash.0).collect::<Vec<_>>()))
}

pub(super) fn bind_keys<'a>(query: Statement<'a>, keys: &'a [(IdempotencyKey, KeyOwner)]) -> Statement<'a> {
    query
        .bind(keys.iter().map(|(key, _)| &*key.tenant).collect::<Vec<&str>>())
        .bind(keys.iter().map(|(key, _)| &*key.key).collect::<Vec<&str>>())
        .bind(keys.iter().map(|(_, owner)| owner.job.0).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, owner)| owner.digest.0).collect::<Vec<_>>())
}

pub(super) fn bind_tasks<'a>(
    query: Statement<'a>,
    tasks: &[(&'a Task, Option<LeaseToken>)],
) -> Statement<'a> {
    query
        .bind(tasks.iter().map(|(task, _)| task.key.job.0).collect::<Vec<_>>())
        .bind(tasks.iter().map(|(task, _)| i32::from(task.key.stage.0)).collect::<Vec<_>>())
        .bind(tasks.iter().map(|(task, _)| &*task.handler).collect::<Vec<&str>>())
        .bind(tasks.iter().map(|(task, _)| &*task.tenant).collect::<Vec<&str>>())
        .bind(tasks.iter().map(|(task, _)| task.priority).collect::<Vec<_>>())
        .bind(tasks.iter().map(|(task, _)| task.run_at.as_millis()).collect::<Vec<_>>())
        .bind(tasks.iter().map(|(_, lease)| lease.map(|lease| lease.0)).collect::<Vec<_>>())
}

/// Tasks and who must hold them, as columns.
#[derive(Default)]
struct Holders {
    streams: Vec<Uuid>,
    stages: Vec<i32>,
    /// The holder does not matter.
    anyone: Vec<bool>,
    holders: Vec<Option<i64>>,
}

impl Holders {
    fn push(&mut self, key: TaskKey, holder: Holder) {
        let (anyone, holder) = match holder {
            Holder::Anyone => (true, None),
            Holder::Nobody => (false, None),
            Holder::Lease(lease) => (false, Some(lease.0)),
        };
        self.streams.push(key.job.0);
        self.stages.push(key.stage.0.into());
        self.anyone.push(anyone);
        self.holders.push(holder);
    }

    fn len(&self) -> usize {
        self.streams.len()
    }

    fn bind<'a>(&self, query: Statement<'a>) -> Statement<'a> {
        query
            .bind(self.streams.clone())
            .bind(self.stages.clone())
            .bind(self.anyone.clone())
            .bind(self.holders.clone())
    }
}

/// What a batch presumes of the tasks that exist, and what it makes of those that it moves.
#[derive(Default)]
struct Presumed {
    deletes: Holders,
    moves: Holders,
    leases: Vec<Option<i64>>,
    run_ats: Vec<Option<i64>>,
}

impl Presumed {
    fn of(batch: &Batch) -> Self {
        let mut presumed = Self::default();
        for write in &batch.tasks {
            match write {
                TaskWrite::Insert { .. } => {}
                TaskWrite::Delete { key, held_by } => presumed.deletes.push(*key, *held_by),
                TaskWrite::Move { key, held_by, lease, run_at } => {
                    presumed.moves.push(*key, *held_by);
                    presumed.leases.push(lease.map(|lease| lease.0));
                    presumed.run_ats.push(run_at.map(Timestamp::as_millis));
                }
            }
        }
        presumed
    }

    /// The tasks that are not held as presumed. If they are by now, the batch is to be planned again.
    async fn mismatches(&self, session: &mut Session) -> Result<Outcome, Failure> {
        let mut keys = Vec::new();
        for holders in [&self.deletes, &self.moves] {
            let rows = session.all(holders.bind(sqlx::query(MISMATCHES))).await?;
            for row in &rows {
                keys.push(rows::key(row, 0)?);
            }
        }
        Ok(if keys.is_empty() { Outcome::HeadMoved } else { Outcome::Fenced(keys) })
    }
}
