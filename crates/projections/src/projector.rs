//! Keeping the read models up to date.

use std::convert::Infallible;
use std::time::Duration;

use quillwork_app::feed::{Feed, FeedError};
use quillwork_app::ports::store::StoreError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Writer};
use crate::changes::OutOfStep;
use crate::follow;
use crate::open::is_of;
use crate::postgres::{self, Database};
use crate::read_models::{Health, ReadModelError, ReadModels, Role};
use crate::tables::Tables;

/// After a commit of this many rows there is load, and the next commit waits for more company.
const LOADED_ROWS: usize = 16;

/// Under load, the least time between two commits.
const WINDOW: Duration = Duration::from_millis(20);

/// After a commit of this many rows the time is longer: most rows change again within it, and are written once instead
/// of several times.
const MANY_ROWS: usize = 160;

/// Under heavy load, the least time between two commits while somebody waits to see what he wrote, and while nobody
/// does.
const LONG_WINDOW: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(200));

/// How often a projector that stands by tries to get the turn, and one that has it says that it lives. A turn lasts for
/// three of these by the clock of the database.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// How long a projector that ends tries to say so.
const FAREWELL: Duration = Duration::from_secs(2);

/// Waits between attempts while something is out of reach.
pub(crate) const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why a projector stopped, or must try again.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
    #[error("the log cannot be followed")]
    Feed(#[from] FeedError),
    #[error("the read models do not fit the log")]
    OutOfStep(#[from] OutOfStep),
    #[error("the read models cannot be written")]
    ReadModel(#[from] ReadModelError),
}

impl ProjectorError {
    /// True if the same may work later, without an event being skipped.
    fn is_transient(&self) -> bool {
        match self {
            Self::Feed(FeedError::Store(error)) | Self::ReadModel(ReadModelError::Log(error)) => {
                match error {
                    StoreError::Unavailable(_) | StoreError::Full(_) => true,
                    StoreError::Corrupt(_) => false,
                }
            }
            Self::Feed(FeedError::Undecodable { .. } | FeedError::Hole { .. }) | Self::OutOfStep(_) => false,
            Self::ReadModel(error) => match error {
                ReadModelError::Database(_) | ReadModelError::Sqlite(_) => !error.is_damage(),
                ReadModelError::File(_) | ReadModelError::Log(_) => true,
                ReadModelError::Row(_)
                | ReadModelError::Damaged(_)
                | ReadModelError::OtherVersion { .. }
                | ReadModelError::NoTables(_)
                | ReadModelError::Rebuilding
                | ReadModelError::CheckpointMoved { .. } => false,
            },
        }
    }
}

/// Follows the log and writes the tables. One per read model file; on PostgreSQL one per process, which take turns.
pub struct Projector;

impl Projector {
    /// Runs until `shutdown`, or until it meets an event that it can neither fold nor skip.
    ///
    /// What may pass (a full disk, a log out of reach) is tried again from the checkpoint, and shows in
    /// [`ReadModels::health`] meanwhile. On PostgreSQL it stands by while a projector in another process has the turn.
    pub async fn run(
        models: ReadModels,
        feed: Feed,
        shutdown: CancellationToken,
    ) -> Result<(), ProjectorError> {
        let Backend::Postgres(database, _) = models.backend() else {
            return keep_up(&models, &feed, &shutdown).await;
        };
        models.set_role(Role::StandingBy);
        let result = tokio::select! {
            result = keep_up(&models, &feed, &shutdown) => result,
            never = follow::follow(&models, database) => match never {},
        };
        if let Role::Active(turn) = models.role() {
            match tokio::time::timeout(FAREWELL, turn.release()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(reason = chain(&error), "the turn ends by itself"),
                Err(_) => tracing::debug!("the turn ends by itself: the database does not answer"),
            }
        }
        models.set_role(Role::Reader);
        result
    }
}

async fn keep_up(
    models: &ReadModels,
    feed: &Feed,
    shutdown: &CancellationToken,
) -> Result<(), ProjectorError> {
    let mut backoff = BACKOFF.0;
    loop {
        let followed = shutdown.run_until_cancelled(follow_log(models, feed)).await;
        let Some(Err(error)) = followed else {
            models.set_health(Health::Idle);
            return Ok(());
        };
        let reason = chain(&error);
        if !error.is_transient() {
            tracing::error!(reason, "the projector stopped; the log is intact, the read models fall behind");
            models.set_health(Health::Failed(reason));
            return Err(error);
        }
        // A failure after a time of success is a new one.
        backoff = if models.health() == Health::Running { BACKOFF.0 } else { (backoff * 2).min(BACKOFF.1) };
        tracing::warn!(reason, retry_in = ?backoff, "the projector cannot go on and tries again");
        models.set_health(Health::Retrying(reason));
        if shutdown.run_until_cancelled(tokio::time::sleep(backoff)).await.is_none() {
            models.set_health(Health::Idle);
            return Ok(());
        }
    }
}

/// The error with its causes, for logs and health.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Follows the log for ever.
async fn follow_log(models: &ReadModels, feed: &Feed) -> Result<Infallible, ProjectorError> {
    let database = match models.backend() {
        Backend::Sqlite(readers) => {
            return project(models, feed, Tables::open_sqlite(readers.path()).await?).await;
        }
        Backend::Postgres(database, _) => database,
    };
    loop {
        match take_turn(models, database, feed).await {
            Err(ProjectorError::ReadModel(ReadModelError::CheckpointMoved { expected })) => {
                tracing::warn!(position = expected.0, "another projector has taken over, this one stands by");
            }
            other => return other,
        }
    }
}

/// Waits for the turn, and follows the log until it is lost.
async fn take_turn(
    models: &ReadModels,
    database: &Database,
    feed: &Feed,
) -> Result<Infallible, ProjectorError> {
    let tables = stand_by(models, database, feed).await?;
    project(models, feed, tables).await
}

/// Waits for the turn.
async fn stand_by(models: &ReadModels, database: &Database, feed: &Feed) -> Result<Tables, ProjectorError> {
    loop {
        let previous = match models.role() {
            Role::Active(turn) => Some(turn.lease),
            Role::Reader | Role::StandingBy => None,
        };
        let acquired = postgres::lease::acquire(database, previous).await?;
        let Some((turn, mut checkpoint)) = acquired else {
            models.set_role(Role::StandingBy);
            models.set_health(Health::Standby);
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {}
                () = models.turn_free().notified() => {}
            }
            continue;
        };
        models.set_role(Role::Active(turn.clone()));
        if !is_of(feed.reader().as_ref(), checkpoint).await.map_err(ReadModelError::from)? {
            tracing::error!(
                schema = database.schema(),
                position = checkpoint.position.0,
                "the read model was made from another log, or the log was set back; it is built again"
            );
            checkpoint = postgres::write::reset(&turn, checkpoint).await?;
            models.set_health(Health::CatchingUp);
        }
        tracing::info!(position = checkpoint.position.0, "this projector writes the read models");
        return Ok(Tables::new(Writer::Postgres(turn), checkpoint));
    }
}

/// Folds what the feed has as it comes, and writes the rows from time to time, for ever.
async fn project(models: &ReadModels, feed: &Feed, mut tables: Tables) -> Result<Infallible, ProjectorError> {
    models.set_position(tables.position());
    if models.health() == Health::Idle {
        models.set_health(Health::CatchingUp);
    }
    let mut pace = Pace::Free;
    loop {
        if tables.position() >= feed.head() {
            models.set_health(Health::Running);
        }
        let is_due = tables.has_enough();
        tokio::select! {
            biased;
            () = pace.is_over(models), if tables.has_news() && !is_due => {}
            _ = feed.wait_past(tables.folded()), if !is_due => {
                if tables.fold_from(feed).await? == 0 {
                    // The log cannot be read up to its head yet, which must not become a busy loop.
                    tokio::time::sleep(WINDOW).await;
                }
                continue;
            }
            () = tokio::time::sleep(BEAT), if !is_due => {
                tables.renew().await?;
                continue;
            }
            else => {}
        }
        let started = Instant::now();
        let n_rows = tables.commit().await?;
        models.set_position(tables.position());
        // Who has not been at the end of the log yet stays what it was.
        let behind = tables.position() < feed.head();
        if !(behind && matches!(models.health(), Health::CatchingUp | Health::Standby)) {
            models.set_health(Health::Running);
        }
        pace = Pace::after(started, n_rows);
    }
}

/// When the next commit may be.
enum Pace {
    /// At once.
    Free,
    Loaded(Instant),
    /// If somebody waits, and if nobody does.
    HeavilyLoaded(Instant, Instant),
}

impl Pace {
    fn after(started: Instant, n_rows: usize) -> Self {
        match n_rows {
            MANY_ROWS.. => Self::HeavilyLoaded(started + LONG_WINDOW.0, started + LONG_WINDOW.1),
            LOADED_ROWS.. => Self::Loaded(started + WINDOW),
            _ => Self::Free,
        }
    }

    async fn is_over(&self, models: &ReadModels) {
        match self {
            Self::Free => {}
            Self::Loaded(until) => tokio::time::sleep_until(*until).await,
            Self::HeavilyLoaded(if_waited_for, until) => {
                let waited_for = async {
                    tokio::time::sleep_until(*if_waited_for).await;
                    models.is_waited_for().await;
                };
                tokio::select! {
                    () = tokio::time::sleep_until(*until) => {}
                    () = waited_for => {}
                }
            }
        }
    }
}
