//! Between rows and values, and from SQLite's errors to ours.

use std::path::Path;

use quillwork_app::ports::store::{Happened, KeyOwner, LeaseToken, StoreError, Task, TaskKey};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use rusqlite::types::Type;
use rusqlite::{ErrorCode, Row};
use uuid::Uuid;

/// The columns that [`recorded`] reads, in order.
pub(super) const EVENT_COLUMNS: &str =
    "position, stream, version, event_id, kind, schema_version, data, meta, recorded_at, hash";

/// The columns that [`happened`] reads, in order.
pub(super) const HAPPENED_COLUMNS: &str = "position, stream, kind, schema_version, data, meta, recorded_at";

/// The columns that [`task`] reads, in order.
pub(super) const TASK_COLUMNS: &str = "stream, stage, handler, tenant, priority, run_at, lease";

pub(super) fn recorded(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let position: i64 = row.get(0)?;
    whole(row).map_err(|error| damaged(0, Damaged { position, error }))
}

pub(super) fn happened(row: &Row<'_>) -> rusqlite::Result<Happened> {
    let position: i64 = row.get(0)?;
    shortened(row).map_err(|error| damaged(0, Damaged { position, error }))
}

/// Names the event whose row does not have its shape.
#[derive(Debug, thiserror::Error)]
#[error("event {position}: {error}")]
struct Damaged {
    position: i64,
    error: rusqlite::Error,
}

fn whole(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let meta = wire::decode_meta(bytes(row, 7)?).map_err(|error| damaged(7, error))?;
    Ok(Recorded {
        position: Position(row.get(0)?),
        stream: StreamId::from_uuid(Uuid::from_bytes(row.get(1)?)),
        version: Version(row.get(2)?),
        event_id: Uuid::from_bytes(row.get(3)?),
        kind: wire::kind_named(text(row, 4)?),
        schema_version: row.get(5)?,
        data: row.get(6)?,
        meta,
        recorded_at: Timestamp::from_millis(row.get(8)?),
        hash: Sha256Digest(row.get(9)?),
    })
}

fn shortened(row: &Row<'_>) -> rusqlite::Result<Happened> {
    let tenant = wire::decode_tenant(bytes(row, 5)?).map_err(|error| damaged(5, error))?;
    Ok(Happened {
        position: Position(row.get(0)?),
        stream: StreamId::from_uuid(Uuid::from_bytes(row.get(1)?)),
        tenant,
        recorded_at: Timestamp::from_millis(row.get(6)?),
        event: wire::decode_parts(text(row, 2)?, row.get(3)?, bytes(row, 4)?),
    })
}

fn bytes<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    row.get_ref(column)?.as_blob().map_err(|error| damaged(column, error))
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    row.get_ref(column)?.as_str().map_err(|error| damaged(column, error))
}

pub(super) fn task(row: &Row<'_>) -> rusqlite::Result<(Task, Option<LeaseToken>)> {
    let handler: String = row.get(2)?;
    let tenant: String = row.get(3)?;
    let task = Task {
        key: key(row)?,
        handler: handler.into(),
        tenant: tenant.into(),
        priority: row.get(4)?,
        run_at: Timestamp::from_millis(row.get(5)?),
    };
    Ok((task, row.get::<_, Option<i64>>(6)?.map(LeaseToken)))
}

/// The key of a task, from the first two columns.
pub(super) fn key(row: &Row<'_>) -> rusqlite::Result<TaskKey> {
    Ok(TaskKey { job: JobId(Uuid::from_bytes(row.get(0)?)), stage: StageIndex(row.get(1)?) })
}

/// The owner of a key, from two columns starting at `first`.
pub(super) fn owner(row: &Row<'_>, first: usize) -> rusqlite::Result<KeyOwner> {
    Ok(KeyOwner { job: JobId(Uuid::from_bytes(row.get(first)?)), digest: Sha256Digest(row.get(first + 1)?) })
}

fn damaged(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
}

/// What an error of SQLite means to our callers.
pub(super) fn store_error(error: rusqlite::Error) -> StoreError {
    use rusqlite::Error as E;
    if let E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..) = error
    {
        return StoreError::Corrupt(format!("a stored row does not have its shape ({error})"));
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(error.to_string()),
        Some(ErrorCode::DiskFull) => StoreError::Full("the disk is full; make room".into()),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            StoreError::Full(format!("the data directory is not writable ({error})"))
        }
        Some(ErrorCode::SystemIoFailure) => StoreError::Full(format!("the file system failed ({error})")),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// The same, for a file that could not be opened.
pub(super) fn store_error_at(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => StoreError::Unavailable(format!(
            "cannot open {} ({error}); check that it exists and its permissions",
            path.display()
        )),
        _ => store_error(error),
    }
}
