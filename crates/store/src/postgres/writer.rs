//! The writer: one connection, one statement per batch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Batch, Claim, CommitError, Head, IdempotencyKey, KeyOwner, LeaseToken, LogWriter, StoreError, Survey,
    Task, TaskKey,
};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{StreamId, Version};
use quillwork_domain::time::Timestamp;

use crate::postgres::commit::{self, INSERT_KEYS, INSERT_TASKS, Outcome};
use crate::postgres::news::Audience;
use crate::postgres::place::Place;
use crate::postgres::rows::{self, Seen, event_columns, signed, unsigned};
use crate::postgres::session::{Failure, Session};
use crate::postgres::sweeper::Sweeper;
use crate::postgres::{claims, leases};

/// What [`rows::survey`] reads; `$1` is the writer's own lease.
pub(super) const SURVEY: &str =
    "SELECT h.position, h.hash, h.queue, h.backlog, h.fence, quillwork.clock_ms(),
       EXISTS (SELECT FROM quillwork.leases l WHERE l.token <> $1 AND l.expires_at >= quillwork.clock_ms()),
       coalesce((
         SELECT e.version FROM quillwork.events e WHERE e.stream = '00000000-0000-0000-0000-000000000000'
         ORDER BY e.version DESC LIMIT 1
       ), 0),
       EXISTS (
         SELECT FROM quillwork.leases l
         WHERE l.token <> $1 AND l.expires_at >= quillwork.clock_ms() AND l.hears_all
       )
     FROM quillwork.head h WHERE h.id = 1";

/// A statement of its own: one that also looked would see what was there before it waited.
pub(super) const LOCK: &str = "SELECT h.id FROM quillwork.head h WHERE h.id = 1 FOR UPDATE;";

pub(super) const LOAD: &str = concat!(
    "SELECT wanted.number, e.* FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS wanted (stream, after, number)
     CROSS JOIN LATERAL (
       SELECT ",
    event_columns!(),
    " FROM quillwork.events e WHERE e.stream = wanted.stream AND e.version > wanted.after ORDER BY e.version
     ) e
     ORDER BY wanted.number, e.version"
);

pub(super) const VERSION: &str =
    "SELECT coalesce(max(e.version), 0) FROM quillwork.events e WHERE e.stream = $1";

pub(super) const VERSIONS: &str = "
    SELECT (SELECT coalesce(max(e.version), 0) FROM quillwork.events e WHERE e.stream = wanted.stream)
    FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (stream, number) ORDER BY wanted.number";

pub(super) const OWNERS: &str =
    "SELECT wanted.number, k.stream, k.digest FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (tenant, key, number)
     JOIN quillwork.idempotency_keys k ON k.tenant = wanted.tenant AND k.key = wanted.key";

/// The new queue is news to everyone, at whatever position.
const REPLACED: &str = "UPDATE quillwork.head SET backlog = $1, queue = position WHERE id = 1
     RETURNING CASE WHEN $2 THEN pg_notify('quillwork', format('%s %s ?', position, position))::text END";

/// Rows that one statement inserts when the queue is replaced.
const CHUNK: usize = 5_000;

/// Connects when it is first asked, on the runtime that asks, and again whenever its connection failed.
pub struct PostgresWriter {
    place: Place,
    session: Option<Session>,
    /// Our own, as opposed to those that tell of other processes.
    lease: Option<LeaseToken>,
    /// Whom there was to tell when last looked.
    audience: Audience,
    sweeper: Sweeper,
}

impl PostgresWriter {
    pub(super) fn new(place: Place) -> Self {
        let sweeper = Sweeper::new(place.clone());
        Self { place, session: None, lease: None, audience: Audience::All, sweeper }
    }

    /// Takes the session; whoever takes it gives it back to [`Self::keep`] unless it is of no use any more. So a session
    /// that somebody stopped waiting for is gone, too.
    async fn session(&mut self) -> Result<Session, StoreError> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => Session::open(&self.place).await,
        }
    }

    fn keep<T>(&mut self, session: Session, done: Result<T, Failure>) -> Result<T, StoreError> {
        match done {
            Ok(done) => {
                self.session = Some(session);
                Ok(done)
            }
            Err(failure) => Err(session.reason(failure)),
        }
    }

    fn seen(&mut self, session: &mut Session, seen: Seen) -> Survey {
        session.fence = seen.fence;
        self.audience = seen.audience;
        seen.survey
    }
}

#[async_trait]
impl LogWriter for PostgresWriter {
    fn is_exclusive(&self) -> bool {
        false
    }

    async fn survey(&mut self) -> Result<Survey, StoreError> {
        let mine = self.lease.map_or(0, |lease| lease.0);
        let mut session = self.session().await?;
        let seen = session.one(sqlx::query(SURVEY).bind(mine)).await;
        let seen = seen.and_then(|row| Ok(rows::survey(&row)?));
        let seen = seen.map(|seen| self.seen(&mut session, seen));
        self.keep(session, seen)
    }

    async fn lock(&mut self) -> Result<Survey, StoreError> {
        if self.session.as_ref().is_some_and(Session::in_transaction) {
            return self.survey().await;
        }
        let mine = self.lease.map_or(0, |lease| lease.0);
        let mut session = self.session().await?;
        let seen = if session.pooled() {
            session.begin(&format!("{LOCK}{}", SURVEY.replace("$1", &mine.to_string()))).await
        } else {
            session.begin(&format!("EXECUTE quillwork_lock; EXECUTE quillwork_survey ({mine})")).await
        };
        let seen = seen.and_then(|mut rows| rows.pop().ok_or(Failure::Error(sqlx::Error::RowNotFound)));
        let seen = seen.and_then(|row| Ok(rows::survey(&row)?));
        let seen = seen.map(|seen| self.seen(&mut session, seen));
        self.keep(session, seen)
    }

    async fn unlock(&mut self) -> Result<(), StoreError> {
        if let Some(mut session) = self.session.take() {
            // A session that cannot end its transaction is dropped, and the lock with it.
            if session.rollback().await.is_ok() {
                self.session = Some(session);
            }
        }
        Ok(())
    }

    async fn commit(&mut self, expected: Head, batch: &Batch) -> Result<(), CommitError> {
        let mut session = self.session().await?;
        let outcome = commit::commit(&mut session, expected, batch, self.audience).await;
        match self.keep(session, outcome)? {
            Outcome::Written => {
                self.sweeper.written(&batch.tasks);
                Ok(())
            }
            Outcome::HeadMoved => Err(CommitError::HeadMoved),
            Outcome::Fenced(keys) => Err(CommitError::Fenced(keys)),
        }
    }

    async fn load(&mut self, streams: &[(StreamId, Version)]) -> Result<Vec<Vec<Recorded>>, StoreError> {
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let query = sqlx::query(LOAD)
            .bind(streams.iter().map(|(stream, _)| stream.to_uuid()).collect::<Vec<_>>())
            .bind(streams.iter().map(|(_, after)| signed(after.0)).collect::<Vec<_>>());
        let mut session = self.session().await?;
        let loaded = session.all(query).await.and_then(|rows| {
            let mut loaded = vec![Vec::new(); streams.len()];
            for row in &rows {
                if let Some(stream) = numbered(&mut loaded, unsigned(row, 0)?) {
                    stream.push(rows::recorded(row, 1)?);
                }
            }
            Ok(loaded)
        });
        self.keep(session, loaded)
    }

    async fn version(&mut self, stream: StreamId) -> Result<Version, StoreError> {
        let mut session = self.session().await?;
        let version = session.one(sqlx::query(VERSION).bind(stream.to_uuid())).await;
        let version = version.and_then(|row| Ok(Version(unsigned(&row, 0)?)));
        self.keep(session, version)
    }

    async fn versions(&mut self, streams: &[StreamId]) -> Result<Vec<Version>, StoreError> {
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let query =
            sqlx::query(VERSIONS).bind(streams.iter().map(|stream| stream.to_uuid()).collect::<Vec<_>>());
        let mut session = self.session().await?;
        let versions = session
            .all(query)
            .await
            .and_then(|rows| rows.iter().map(|row| Ok(Version(unsigned(row, 0)?))).collect());
        self.keep(session, versions)
    }

    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let query = sqlx::query(OWNERS)
            .bind(keys.iter().map(|key| &*key.tenant).collect::<Vec<&str>>())
            .bind(keys.iter().map(|key| &*key.key).collect::<Vec<&str>>());
        let mut session = self.session().await?;
        let owners = session.all(query).await.and_then(|rows| {
            let mut owners = vec![None; keys.len()];
            for row in &rows {
                if let Some(owner) = numbered(&mut owners, unsigned(row, 0)?) {
                    *owner = Some(rows::owner(row, 1)?);
                }
            }
            Ok(owners)
        });
        self.keep(session, owners)
    }

    async fn ready(&mut self, claims: &[Claim], now: Timestamp) -> Result<Vec<Vec<Task>>, StoreError> {
        let mut session = self.session().await?;
        let ready = claims::ready(&mut session, claims, now).await;
        self.keep(session, ready)
    }

    async fn next_due(
        &mut self,
        handlers: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut session = self.session().await?;
        let due = claims::next_due(&mut session, handlers, now).await;
        self.keep(session, due)
    }

    async fn held_by_handler(&mut self, handlers: &[Arc<str>]) -> Result<Vec<u64>, StoreError> {
        let mut session = self.session().await?;
        let held = claims::held_by_handler(&mut session, handlers).await;
        self.keep(session, held)
    }

    async fn handlers(&mut self) -> Result<Vec<String>, StoreError> {
        let mut session = self.session().await?;
        let handlers = claims::handlers(&mut session).await;
        self.keep(session, handlers)
    }

    async fn open_lease(&mut self, worker: &str, ttl: Duration) -> Result<LeaseToken, StoreError> {
        let mut session = self.session().await?;
        let opened = leases::open(&mut session, worker, ttl).await;
        let lease = self.keep(session, opened)?;
        self.lease = Some(lease);
        Ok(lease)
    }

    async fn renew_lease(&mut self, lease: LeaseToken, ttl: Duration) -> Result<bool, StoreError> {
        let mut session = self.session().await?;
        let renewed = leases::renew(&mut session, lease, ttl).await;
        self.keep(session, renewed)
    }

    async fn close_lease(&mut self, lease: LeaseToken) -> Result<(), StoreError> {
        let mut session = self.session().await?;
        let closed = leases::close(&mut session, lease).await;
        self.keep(session, closed)
    }

    async fn orphans(
        &mut self,
        mine: LeaseToken,
        limit: usize,
    ) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError> {
        let mut session = self.session().await?;
        let orphans = leases::orphans(&mut session, mine, limit).await;
        self.keep(session, orphans)
    }

    async fn held(&mut self, lease: LeaseToken) -> Result<Vec<TaskKey>, StoreError> {
        let mut session = self.session().await?;
        let held = leases::held(&mut session, lease).await;
        self.keep(session, held)
    }

    /// Under a lock, which ends with it, nobody can write between what `tasks` was derived from and this.
    async fn replace_queue(
        &mut self,
        tasks: &[(Task, Option<LeaseToken>)],
        keys: &[(IdempotencyKey, KeyOwner)],
    ) -> Result<(), StoreError> {
        let mut session = self.session().await?;
        let replaced = replace_queue(&mut session, tasks, keys).await;
        self.keep(session, replaced)
    }
}

async fn replace_queue(
    session: &mut Session,
    tasks: &[(Task, Option<LeaseToken>)],
    keys: &[(IdempotencyKey, KeyOwner)],
) -> Result<(), Failure> {
    if !session.in_transaction() {
        session.begin(LOCK).await?;
    }
    // A large queue takes longer than any batch.
    session.batch("SET LOCAL statement_timeout = 0").await?;
    session.patiently(sqlx::query("DELETE FROM quillwork.tasks")).await?;
    session.patiently(sqlx::query("DELETE FROM quillwork.idempotency_keys")).await?;
    for chunk in tasks.chunks(CHUNK) {
        let rows: Vec<_> = chunk.iter().map(|(task, lease)| (task, *lease)).collect();
        session.patiently(commit::bind_tasks(sqlx::query(INSERT_TASKS), &rows)).await?;
    }
    for chunk in keys.chunks(CHUNK) {
        session.patiently(commit::bind_keys(sqlx::query(INSERT_KEYS), chunk)).await?;
    }
    let backlog = signed(tasks.len() as u64);
    let tell = !session.pooled();
    session.patiently(sqlx::query(REPLACED).bind(backlog).bind(tell)).await?;
    session.commit().await
}

/// The item that the rows call `number`, counted from 1.
fn numbered<T>(items: &mut [T], number: u64) -> Option<&mut T> {
    usize::try_from(number).ok()?.checked_sub(1).and_then(|index| items.get_mut(index))
}
