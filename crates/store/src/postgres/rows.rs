//! Between rows and values.

use quillwork_app::ports::store::{Happened, Head, KeyOwner, LeaseToken, Survey, Task, TaskKey};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::postgres::news::Audience;

/// The columns that [`recorded`] reads, in order.
macro_rules! event_columns {
    () => {
        "e.position, e.stream, e.version, e.event_id, e.kind, e.schema_version, e.data, e.meta, e.recorded_at, e.hash"
    };
}
pub(super) use event_columns;

/// The columns of [`HappenedRow`], in order.
macro_rules! happened_columns {
    () => {
        "e.position, e.stream, e.kind, e.schema_version, e.data, e.meta, e.recorded_at"
    };
}
pub(super) use happened_columns;

/// The columns that [`task`] reads, in order.
macro_rules! task_columns {
    () => {
        "t.stream, t.stage, t.handler, t.tenant, t.priority, t.run_at"
    };
}
pub(super) use task_columns;

/// A row does not have its shape.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damaged {
    #[error("event {position}: {error}")]
    Event { position: i64, error: Box<dyn std::error::Error + Send + Sync> },
    #[error("{0} is out of range")]
    Range(i64),
    #[error("a hash has {0} bytes")]
    Hash(usize),
    #[error("what was copied does not have the form of a copy")]
    Copy,
}

pub(super) fn damaged(what: Damaged) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(what))
}

/// An event, from the columns that begin at `first`.
pub(super) fn recorded(row: &PgRow, first: usize) -> sqlx::Result<Recorded> {
    let position: i64 = row.try_get(first)?;
    let columns = || -> sqlx::Result<EventRow<'_>> {
        Ok(EventRow {
            position,
            stream: row.try_get(first + 1)?,
            version: row.try_get(first + 2)?,
            event_id: row.try_get(first + 3)?,
            kind: row.try_get(first + 4)?,
            schema_version: row.try_get(first + 5)?,
            data: row.try_get(first + 6)?,
            meta: row.try_get(first + 7)?,
            recorded_at: row.try_get(first + 8)?,
            hash: row.try_get(first + 9)?,
        })
    };
    let columns =
        columns().map_err(|error: sqlx::Error| damaged(Damaged::Event { position, error: error.into() }))?;
    columns.recorded().map_err(damaged)
}

/// The columns of an event, in the order of [`event_columns`].
pub(super) struct EventRow<'a> {
    pub(super) position: i64,
    pub(super) stream: Uuid,
    pub(super) version: i64,
    pub(super) event_id: Uuid,
    pub(super) kind: &'a str,
    pub(super) schema_version: i32,
    pub(super) data: &'a [u8],
    pub(super) meta: &'a [u8],
    pub(super) recorded_at: i64,
    pub(super) hash: &'a [u8],
}

impl EventRow<'_> {
    /// The event of the row.
    pub(super) fn recorded(self) -> Result<Recorded, Damaged> {
        let position = self.position;
        self.shaped().map_err(|error| Damaged::Event { position, error })
    }

    fn shaped(self) -> Result<Recorded, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Recorded {
            position: Position(positive(self.position)?),
            stream: StreamId::from_uuid(self.stream),
            version: Version(positive(self.version)?),
            event_id: self.event_id,
            kind: wire::kind_named(self.kind),
            schema_version: small(self.schema_version)?,
            data: self.data.to_vec(),
            meta: wire::decode_meta(self.meta)?,
            recorded_at: Timestamp::from_millis(self.recorded_at),
            hash: digest_of(self.hash)?,
        })
    }
}

/// The columns of an event that a fold needs, in the order of [`happened_columns`].
pub(super) struct HappenedRow<'a> {
    pub(super) position: i64,
    pub(super) stream: Uuid,
    pub(super) kind: &'a str,
    pub(super) schema_version: i32,
    pub(super) data: &'a [u8],
    pub(super) meta: &'a [u8],
    pub(super) recorded_at: i64,
}

impl HappenedRow<'_> {
    /// The event of the row.
    pub(super) fn happened(self) -> Result<Happened, Damaged> {
        let position = self.position;
        self.shaped().map_err(|error| Damaged::Event { position, error })
    }

    fn shaped(self) -> Result<Happened, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Happened {
            position: Position(positive(self.position)?),
            stream: StreamId::from_uuid(self.stream),
            tenant: wire::decode_tenant(self.meta)?,
            recorded_at: Timestamp::from_millis(self.recorded_at),
            event: wire::decode_parts(self.kind, small(self.schema_version)?, self.data),
        })
    }
}

/// A task, from the columns that begin at `first`.
pub(super) fn task(row: &PgRow, first: usize) -> sqlx::Result<Task> {
    Ok(Task {
        key: key(row, first)?,
        handler: row.try_get::<&str, _>(first + 2)?.into(),
        tenant: row.try_get::<&str, _>(first + 3)?.into(),
        priority: row.try_get(first + 4)?,
        run_at: time(row, first + 5)?,
    })
}

/// The key of a task, from two columns.
pub(super) fn key(row: &PgRow, first: usize) -> sqlx::Result<TaskKey> {
    let job: Uuid = row.try_get(first)?;
    let stage = small(row.try_get(first + 1)?).map_err(damaged)?;
    Ok(TaskKey { job: JobId(job), stage: StageIndex(stage) })
}

pub(super) fn lease(row: &PgRow, column: usize) -> sqlx::Result<Option<LeaseToken>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(LeaseToken))
}

/// The owner of a key, from two columns.
pub(super) fn owner(row: &PgRow, first: usize) -> sqlx::Result<KeyOwner> {
    Ok(KeyOwner { job: JobId(row.try_get(first)?), digest: digest(row, first + 1)? })
}

/// The end of the log, from two columns.
pub(super) fn head(row: &PgRow, first: usize) -> sqlx::Result<Head> {
    Ok(Head { position: Position(unsigned(row, first)?), hash: digest(row, first + 1)? })
}

/// What [`crate::postgres::writer::SURVEY`] says.
pub(super) struct Seen {
    pub(super) survey: Survey,
    pub(super) fence: i64,
    pub(super) audience: Audience,
}

pub(super) fn survey(row: &PgRow) -> sqlx::Result<Seen> {
    let survey = Survey {
        head: head(row, 0)?,
        queue: Position(unsigned(row, 2)?),
        backlog: unsigned(row, 3)?,
        now: time(row, 5)?,
        shared: row.try_get(6)?,
        controls: Version(unsigned(row, 7)?),
    };
    let audience = match (survey.shared, row.try_get(8)?) {
        (false, _) => Audience::Nobody,
        (true, false) => Audience::Workers,
        (true, true) => Audience::All,
    };
    Ok(Seen { survey, fence: row.try_get(4)?, audience })
}

pub(super) fn digest(row: &PgRow, column: usize) -> sqlx::Result<Sha256Digest> {
    // By value: a row of the simple protocol carries bytes as text.
    let bytes: Vec<u8> = row.try_get(column)?;
    digest_of(&bytes).map_err(damaged)
}

fn digest_of(bytes: &[u8]) -> Result<Sha256Digest, Damaged> {
    bytes.try_into().map(Sha256Digest).map_err(|_| Damaged::Hash(bytes.len()))
}

pub(super) fn unsigned(row: &PgRow, column: usize) -> sqlx::Result<u64> {
    positive(row.try_get(column)?).map_err(damaged)
}

fn positive(number: i64) -> Result<u64, Damaged> {
    u64::try_from(number).map_err(|_| Damaged::Range(number))
}

fn small(number: i32) -> Result<u16, Damaged> {
    u16::try_from(number).map_err(|_| Damaged::Range(number.into()))
}

fn time(row: &PgRow, column: usize) -> sqlx::Result<Timestamp> {
    row.try_get(column).map(Timestamp::from_millis)
}

/// Numbers of ours as PostgreSQL has them, with a sign; what is out of its range cannot be told from its end.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As a LIMIT, with room to calculate.
pub(super) fn rows_limit(limit: usize) -> i64 {
    i64::try_from(limit).map_or(i64::MAX / 4, |limit| limit.min(i64::MAX / 4))
}
