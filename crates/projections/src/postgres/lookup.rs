//! Single jobs, which many ask for at once.
//!
//! Whoever asks while a query is on its way goes with the next one: the more ask, the less each costs. Nobody waits for
//! company, and what is told was read after it was asked for.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quillwork_domain::id::JobId;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions, Row};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Database;
use super::query::{ROWS, summary};
use crate::job_summary::JobSummary;
use crate::read_models::ReadModelError;

/// A client is better told to come back than kept.
const PATIENCE: Duration = Duration::from_secs(3);

/// Plans are made once, and never for reading a whole table: with no statistics that looks cheap.
const OPTIONS: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

type Answer = Result<Option<JobSummary>, ReadModelError>;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lookups {
    database: Database,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Who goes with the next query; None while no query is on its way.
    waiting: Option<Vec<(JobId, oneshot::Sender<Answer>)>>,
    /// Kept from query to query. A pool would look at it before and after each of them.
    connection: Option<PgConnection>,
}

impl Lookups {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, state: Arc::default() }
    }

    /// The row of one job.
    pub(crate) async fn job(&self, id: JobId) -> Answer {
        let (tell, answer) = oneshot::channel();
        let is_first = {
            let mut state = self.state();
            let is_first = state.waiting.is_none();
            state.waiting.get_or_insert_default().push((id, tell));
            is_first
        };
        if is_first {
            // On its own, because whoever asked first may hang up.
            tokio::spawn(self.clone().look());
        }
        answer.await.map_err(|_| ReadModelError::File(std::io::ErrorKind::Interrupted.into()))?
    }

    /// Looks until nobody waits.
    async fn look(self) {
        let mut connection = self.state().connection.take();
        loop {
            let asked = {
                let mut state = self.state();
                match &mut state.waiting {
                    Some(waiting) if !waiting.is_empty() => mem::take(waiting),
                    Some(_) | None => {
                        state.waiting = None;
                        state.connection = connection;
                        return;
                    }
                }
            };
            let ids: Vec<JobId> = asked.iter().map(|(id, _)| *id).collect();
            let found = match tokio::time::timeout(PATIENCE, self.rows(&mut connection, &ids)).await {
                Ok(found) => found,
                Err(_) => {
                    connection = None;
                    Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
                }
            };
            tell(asked, found.map_err(Arc::new));
        }
    }

    async fn rows(
        &self,
        connection: &mut Option<PgConnection>,
        ids: &[JobId],
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let select = || sqlx::query(self.database.sql(ROWS)).bind(ids.clone());
        if self.database.is_pooled() {
            return self.database.run(select()).await;
        }
        if let Some(mut used) = connection.take()
            && let Ok(rows) = select().fetch_all(&mut used).await
        {
            *connection = Some(used);
            return Ok(rows);
        }
        // It is the first, or the last one was cut.
        let options: PgConnectOptions = self.database.pool().connect_options().as_ref().clone();
        let mut new = options.options(OPTIONS).connect().await?;
        let rows = select().fetch_all(&mut new).await?;
        *connection = Some(new);
        Ok(rows)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives everyone his own row; one that hung up misses nothing.
fn tell(asked: Vec<(JobId, oneshot::Sender<Answer>)>, found: Result<Vec<PgRow>, Arc<sqlx::Error>>) {
    let found = found.and_then(|rows| {
        let by_id = rows.into_iter().map(|row| Ok((row.try_get::<Uuid, _>("id")?, row)));
        by_id.collect::<Result<HashMap<_, _>, sqlx::Error>>().map_err(Arc::new)
    });
    for (id, tell) in asked {
        let answer = match &found {
            Ok(rows) => rows.get(&id.0).map(summary).transpose(),
            Err(error) => Err(ReadModelError::Database(error.clone())),
        };
        let _ = tell.send(answer);
    }
}
