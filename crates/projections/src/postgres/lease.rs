//! Who may write: projectors take turns, by the clock of the database.

use std::convert::Infallible;
use std::str::FromStr;

use quillwork_domain::id::Position;
use quillwork_domain::payload::Sha256Digest;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Database, from_i64};
use crate::changes::Checkpoint;
use crate::projector::{BEAT, chain};
use crate::read_models::ReadModelError;

/// What is said on the channel when a turn has ended.
pub(crate) const FREE: &str = "free";

/// The permission to write, until somebody else has it.
#[derive(Clone)]
pub(crate) struct Turn {
    pub(crate) database: Database,
    pub(crate) lease: Uuid,
}

const ACQUIRE: &str = "
    UPDATE {schema}.checkpoint
    SET lease = gen_random_uuid(), lease_until = clock_timestamp() + interval '3 seconds'
    WHERE id = 1 AND (lease IS NULL OR lease = $1 OR lease_until < clock_timestamp())
    RETURNING lease, position, hash";

const TAKE_OVER: &str = "
    UPDATE {schema}.checkpoint
    SET lease = gen_random_uuid(), lease_until = clock_timestamp() + interval '3 seconds'
    WHERE id = 1
    RETURNING lease, position, hash";

const RENEW: &str = "
    UPDATE {schema}.checkpoint
    SET lease_until = clock_timestamp() + interval '3 seconds'
    WHERE id = 1 AND lease = $1
    RETURNING position";

const RELEASE: &str = "
    UPDATE {schema}.checkpoint
    SET lease = NULL, lease_until = NULL
    WHERE id = 1 AND lease = $1
    RETURNING pg_notify($2, $3)";

const LOOK: &str = "
    SELECT position, hash, lease IS NULL OR lease_until < clock_timestamp() AS free
    FROM {schema}.checkpoint WHERE id = 1";

/// A turn and how far the rows are, unless another has the turn. A `previous` turn is continued under a new name, so
/// that nothing that is still on its way under the old one is written.
pub(crate) async fn acquire(
    database: &Database,
    previous: Option<Uuid>,
) -> Result<Option<(Turn, Checkpoint)>, ReadModelError> {
    let rows = database.run(sqlx::query(database.sql(ACQUIRE)).bind(previous)).await?;
    rows.first().map(|row| turn(database, row)).transpose()
}

/// A turn, whoever has it now.
pub(crate) async fn take_over(database: &Database) -> Result<(Turn, Checkpoint), ReadModelError> {
    let rows = database.run(sqlx::query(database.sql(TAKE_OVER))).await?;
    turn(database, rows.first().ok_or_else(no_row)?)
}

fn turn(database: &Database, row: &PgRow) -> Result<(Turn, Checkpoint), ReadModelError> {
    let turn = Turn { database: database.clone(), lease: row.try_get("lease")? };
    Ok((turn, checkpoint(row)?))
}

fn checkpoint(row: &PgRow) -> Result<Checkpoint, ReadModelError> {
    let hash = Sha256Digest::from_str(row.try_get("hash")?)
        .map_err(|_| ReadModelError::Damaged("the checkpoint's hash is not a digest".to_owned()))?;
    Ok(Checkpoint { position: Position(from_i64(row.try_get("position")?)), hash })
}

fn no_row() -> ReadModelError {
    ReadModelError::Damaged("there is no checkpoint".to_owned())
}

impl Turn {
    /// Lengthens the turn; false if another has it.
    pub(crate) async fn renew(&self) -> Result<bool, ReadModelError> {
        let renew = sqlx::query(self.database.sql(RENEW)).bind(self.lease);
        Ok(!self.database.run(renew).await?.is_empty())
    }

    /// Lengthens the turn again and again, while something else takes long.
    pub(crate) async fn keep(&self) -> Infallible {
        loop {
            tokio::time::sleep(BEAT).await;
            if let Err(error) = self.renew().await {
                tracing::debug!(reason = chain(&error), "the turn cannot be lengthened");
            }
        }
    }

    /// Ends the turn, so that the next need not wait for its time to be up.
    pub(crate) async fn release(&self) -> Result<(), ReadModelError> {
        let database = &self.database;
        let release = sqlx::query(database.sql(RELEASE)).bind(self.lease).bind(database.schema()).bind(FREE);
        database.run(release).await?;
        Ok(())
    }
}

/// How far the rows are, and whether nobody has the turn.
pub(crate) async fn look(database: &Database) -> Result<(Checkpoint, bool), ReadModelError> {
    let rows = database.run(sqlx::query(database.sql(LOOK))).await?;
    let row = rows.first().ok_or_else(no_row)?;
    Ok((checkpoint(row)?, row.try_get("free")?))
}
