//! Keeping up with a projector in another process.

use std::convert::Infallible;
use std::time::Duration;

use quillwork_domain::id::Position;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::postgres::{Database, lease};
use crate::projector::{BACKOFF, chain};
use crate::read_models::{Health, ReadModelError, ReadModels, Role};

/// How often the checkpoint is looked at, and how often while somebody waits for it.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(100));

/// A look that takes longer waits for a connection that nobody answers on.
const STUCK: Duration = Duration::from_secs(5);

impl ReadModels {
    /// Keeps [`ReadModels::position`] and [`ReadModels::health`] true in a process without a projector, until `shutdown`.
    ///
    /// Never gives up: while the database is out of reach the health says so. On SQLite there is no other process, and
    /// this returns at once. [`Projector::run`](crate::Projector::run) does the same while it stands by.
    pub async fn follow(self, shutdown: CancellationToken) {
        let Backend::Postgres(database, _) = self.backend() else { return };
        shutdown.run_until_cancelled(follow(&self, database)).await;
        self.set_health(Health::Idle);
    }
}

/// Follows for ever, and does nothing while our own projector has the turn.
pub(crate) async fn follow(models: &ReadModels, database: &Database) -> Infallible {
    if database.is_pooled() {
        return look(models, database).await;
    }
    tokio::select! {
        never = look(models, database) => never,
        never = listen(models, database) => never,
    }
}

/// Looks at the checkpoint again and again.
async fn look(models: &ReadModels, database: &Database) -> Infallible {
    let mut backoff = BACKOFF.0;
    loop {
        let started = Instant::now();
        let before = models.position();
        let looked = match tokio::time::timeout(STUCK, lease::look(database)).await {
            Ok(looked) => looked,
            Err(_) => Err(ReadModelError::from(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
        };
        match looked {
            Ok((checkpoint, free)) => {
                backoff = BACKOFF.0;
                let seen = checkpoint.position;
                // What was heard during the look may be newer. Less than was known before it means that the tables
                // were set back.
                models.follow_to(|known| (seen > known || seen < before).then_some(seen));
                if free {
                    models.turn_free().notify_one();
                }
                says(models, Health::Standby);
                tokio::select! {
                    () = tokio::time::sleep_until(started + LOOK.0) => {}
                    () = async {
                        tokio::time::sleep_until(started + LOOK.1).await;
                        models.is_waited_for().await;
                    } => {}
                }
            }
            Err(error) => {
                let reason = chain(&error);
                tracing::warn!(reason, retry_in = ?backoff, "the read models' progress cannot be seen");
                says(models, Health::Retrying(reason));
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
    }
}

/// Sets the health of a process whose projector does not do so.
fn says(models: &ReadModels, health: Health) {
    match models.role() {
        Role::Reader => models.set_health(health),
        Role::StandingBy | Role::Active(_) => {}
    }
}

/// Listens to what the projector with the turn says. What is not heard is seen by looking.
async fn listen(models: &ReadModels, database: &Database) -> Infallible {
    let mut backoff = BACKOFF.0;
    loop {
        let started = Instant::now();
        let Err(error) = hear(models, database).await;
        backoff = if started.elapsed() > BACKOFF.1 { BACKOFF.0 } else { (backoff * 2).min(BACKOFF.1) };
        tracing::debug!(reason = chain(&error), "the read models' projector cannot be heard");
        tokio::time::sleep(backoff).await;
    }
}

async fn hear(models: &ReadModels, database: &Database) -> Result<Infallible, sqlx::Error> {
    // A connection of its own, which is not taken from those who ask.
    let options = database.pool().connect_options().as_ref().clone();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(database.schema()).await?;
    loop {
        // None: the connection was lost and made anew.
        let Some(notification) = listener.try_recv().await? else { continue };
        match notification.payload() {
            lease::FREE => models.turn_free().notify_one(),
            position => {
                if let Ok(position) = position.parse().map(Position) {
                    models.follow_to(|known| (position > known).then_some(position));
                }
            }
        }
    }
}
