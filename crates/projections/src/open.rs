//! Opening the read models, and telling whether they are of this log.

use std::path::Path;

use quillwork_app::ports::store::{LogReader, StoreError};
use quillwork_domain::id::Position;
use sqlx::postgres::PgPool;

use crate::backend::Backend;
use crate::changes::Checkpoint;
use crate::postgres::{self, Database, PgReadConfig};
use crate::projector::chain;
use crate::read_models::{DAMAGED, ReadModelError, ReadModels};
use crate::sqlite::{self, Indexes};

impl ReadModels {
    /// Opens the SQLite file at `path`, made if there is none.
    ///
    /// A file that does not belong to this version or to this log, or that is damaged, is thrown away with a warning;
    /// the projector then starts from the beginning of the log.
    pub async fn open(path: &Path, log: &dyn LogReader) -> Result<Self, ReadModelError> {
        let checkpoint = match usable(path, log).await {
            Ok(checkpoint) => checkpoint,
            Err(Unusable::Error(error)) => return Err(error),
            Err(Unusable::Because(reason)) => {
                tracing::warn!(file = %path.display(), reason, "the read model is thrown away and built again");
                sqlite::remove(path)?;
                sqlite::remove(&sqlite::beside(path, DAMAGED))?;
                checkpoint_of(path).await?
            }
        };
        Ok(Self::new(Backend::Sqlite(sqlite::Readers::new(path)), checkpoint.position))
    }

    /// Opens the tables of this version in the PostgreSQL database of `pool`. If there are none they are made, or, where
    /// it may not create them, [`ReadModelError::NoTables`] says so.
    ///
    /// Tables that are not of this log are left as they are: the projector that has the turn empties them. A process
    /// without a projector must run [`ReadModels::follow`].
    pub async fn open_postgres(
        pool: PgPool,
        config: PgReadConfig,
        log: &dyn LogReader,
        may_create: bool,
    ) -> Result<Self, ReadModelError> {
        let database = Database::live(pool, config);
        if may_create {
            postgres::schema::create(&database).await?;
        } else if !postgres::schema::exists(&database).await? {
            return Err(ReadModelError::NoTables(database.schema().to_owned()));
        }
        let (checkpoint, _) = postgres::lease::look(&database).await?;
        if !is_of(log, checkpoint).await? {
            tracing::warn!(
                schema = database.schema(),
                position = checkpoint.position.0,
                "the read model was made from another log, or the log was set back; a projector will build it again"
            );
        }
        Ok(Self::new(Backend::postgres(database), checkpoint.position))
    }
}

enum Unusable {
    /// The file cannot be used by anyone.
    Because(String),
    /// The file may be fine.
    Error(ReadModelError),
}

impl From<ReadModelError> for Unusable {
    fn from(error: ReadModelError) -> Self {
        if error.is_damage() || matches!(error, ReadModelError::OtherVersion { .. }) {
            return Self::Because(chain(&error));
        }
        Self::Error(error)
    }
}

/// The checkpoint of a file that belongs to this version and to this log.
async fn usable(path: &Path, log: &dyn LogReader) -> Result<Checkpoint, Unusable> {
    if sqlite::beside(path, DAMAGED).exists() {
        return Err(Unusable::Because("a query found it damaged".to_owned()));
    }
    let checkpoint = checkpoint_of(path).await?;
    if !is_of(log, checkpoint).await.map_err(ReadModelError::from)? {
        return Err(Unusable::Because("it was made from another log, or the log was set back".to_owned()));
    }
    Ok(checkpoint)
}

/// The checkpoint of a file, made if there is none.
async fn checkpoint_of(path: &Path) -> Result<Checkpoint, ReadModelError> {
    let (writer, checkpoint) = sqlite::Writer::open(path, Indexes::AtOnce).await?;
    writer.close().await?;
    Ok(checkpoint)
}

/// True if the log has the event of the checkpoint, or had it at the end of a hole. What is inside a hole cannot be told
/// from what is of another log.
pub(crate) async fn is_of(log: &dyn LogReader, checkpoint: Checkpoint) -> Result<bool, StoreError> {
    if checkpoint.position == Position::START {
        return Ok(true);
    }
    let before = Position(checkpoint.position.0 - 1);
    let event = log.read_all(before, 1).await?;
    if let Some(event) = event.first().filter(|event| event.position == checkpoint.position) {
        return Ok(event.hash == checkpoint.hash);
    }
    let runs = log.archived_runs(before, 1).await?;
    Ok(runs.first().is_some_and(|run| run.last == checkpoint.position && run.hash == checkpoint.hash))
}
