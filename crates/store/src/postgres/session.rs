//! The writer's connection: its settings, its transactions, and the fence against what an earlier one may still do.
//!
//! A session that saw an error which nobody expected is dropped, and with it whatever transaction it was in.

use std::time::Duration;

use quillwork_app::ports::store::StoreError;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor as _, Postgres, Row as _};

use crate::postgres::place::{Hears, Place};
use crate::postgres::writer::{LOCK, SURVEY};

/// How long an answer may take; the server's own limits end a statement before.
const ANSWER: Duration = Duration::from_secs(40);

/// Raises the fence. Takes the lock of the head, so it waits until an earlier connection's commit is final.
pub(super) const FENCE: &str = "UPDATE quillwork.head SET fence = fence + 1 WHERE id = 1 RETURNING fence";

/// What every statement of the writer runs under, as SETs.
///
/// - `synchronous_commit`: what is committed survives the loss of power, whatever the server or the role is set to.
/// - `idle_in_transaction_session_timeout`: a stopped process must not keep the head locked.
/// - `plan_cache_mode`, the scans and the joins: planning the commit anew takes as long as running it for ten jobs, and
///   it always comes out the same, because each row of a batch is looked up by its key. A plan made for empty tables, or a
///   join made for many rows, would read whole tables.
/// - The sorts: before there are statistics, reading all tasks of a handler and sorting them seems as good as the index
///   that has them in order.
/// - `bytea_output`: what comes back in the text format is read as hexadecimal digits.
/// - `jit`: what is turned off looks infinitely expensive where it cannot be avoided, and worth a compilation of a
///   tenth of a second.
macro_rules! settings {
    ($set:literal, $local:literal) => {
        concat!(
            $set,
            " idle_in_transaction_session_timeout = '2s';",
            $set,
            " statement_timeout = '30s';",
            $set,
            " lock_timeout = '10s';",
            $set,
            " plan_cache_mode = force_generic_plan;",
            $set,
            " enable_seqscan = off;",
            $set,
            " enable_hashjoin = off;",
            $set,
            " enable_mergejoin = off;",
            $set,
            " enable_sort = off;",
            $set,
            " enable_incremental_sort = off;",
            $set,
            " jit = off;",
            $set,
            " bytea_output = hex;",
            "SELECT set_config('synchronous_commit', 'on', ",
            $local,
            ")",
            " WHERE current_setting('synchronous_commit') = 'off';",
        )
    };
}

/// The settings of a session.
pub(super) const SESSION: &str = concat!(
    "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;",
    settings!("SET", "false")
);

/// Begins a transaction. In a pool nothing was set before.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;";
const BEGIN_POOLED: &str =
    concat!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;", settings!("SET LOCAL", "true"));

/// A statement with its arguments.
pub(super) type Statement<'a> = Query<'a, Postgres, PgArguments>;

/// One connection to the server, or to a pool of them.
pub(super) struct Session {
    conn: PgConnection,
    place: Place,
    /// What the head's fence must be for a write of this session.
    pub(super) fence: i64,
    in_transaction: bool,
}

impl Session {
    /// Connects and raises the fence: what any earlier session of any process sent and was not answered is either
    /// committed when this returns, or never will be.
    pub(super) async fn open(place: &Place) -> Result<Self, StoreError> {
        let conn = place.connect().await?;
        let mut session = Self { conn, place: place.clone(), fence: 0, in_transaction: false };
        if !place.pooled {
            let prepared =
                format!("PREPARE quillwork_lock AS {LOCK} PREPARE quillwork_survey (bigint) AS {SURVEY}");
            let opening = format!("{SESSION}{prepared}");
            session.batch(&opening).await.map_err(|failure| session.reason(failure))?;
        }
        let raised = session.one(sqlx::query(FENCE)).await.map_err(|failure| session.reason(failure))?;
        session.fence = raised.try_get(0).map_err(|error| place.error(error))?;
        Ok(session)
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    pub(super) fn pooled(&self) -> bool {
        self.place.pooled
    }

    pub(super) fn hears(&self) -> Hears {
        self.place.hears
    }

    /// Begins a transaction and runs `then` in it, all in one round trip; returns the rows of `then`.
    pub(super) async fn begin(&mut self, then: &str) -> Result<Vec<PgRow>, Failure> {
        let begin = if self.place.pooled { BEGIN_POOLED } else { BEGIN };
        // Whatever comes of it, there may be a transaction now.
        self.in_transaction = true;
        let rows = self.batch(&format!("{begin}{then}")).await?;
        // The settings answer, too, if they had to change something.
        Ok(rows.into_iter().filter(|row| row.len() > 1).collect())
    }

    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        self.batch("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> Result<(), Failure> {
        if self.in_transaction {
            self.batch("ROLLBACK").await?;
            self.in_transaction = false;
        }
        Ok(())
    }

    /// Runs one statement; by itself if there is no transaction.
    pub(super) async fn all(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>, Failure> {
        // A pool gives every transaction another connection, and a statement is prepared and run in two steps.
        let own_transaction = self.place.pooled && !self.in_transaction;
        if own_transaction {
            self.begin("").await?;
        }
        let statement = statement.persistent(!self.place.pooled);
        let rows = answer(self.conn.fetch_all(statement)).await?;
        if own_transaction {
            self.commit().await?;
        }
        Ok(rows)
    }

    /// Runs a statement that returns one row.
    pub(super) async fn one(&mut self, statement: Statement<'_>) -> Result<PgRow, Failure> {
        let mut rows = self.all(statement).await?;
        rows.pop().ok_or(Failure::Error(sqlx::Error::RowNotFound))
    }

    /// Runs statements without arguments in one round trip.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<Vec<PgRow>, Failure> {
        answer(sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.conn)).await
    }

    /// Runs statements of a transaction that may take as long as they take.
    pub(super) async fn patiently(&mut self, statement: Statement<'_>) -> Result<(), Failure> {
        let statement = statement.persistent(!self.place.pooled);
        self.conn.execute(statement).await.map(drop).map_err(Failure::Error)
    }

    /// What a failure means to our callers.
    pub(super) fn reason(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Error(sqlx::Error::RowNotFound) => {
                StoreError::Corrupt(format!("the log in PostgreSQL at {} has no head", self.place.name))
            }
            Failure::Error(error) => self.place.error(error),
            Failure::Silent => self.place.silent(),
        }
    }
}

/// A statement did not do what it should.
#[derive(Debug)]
pub(super) enum Failure {
    Error(sqlx::Error),
    /// There was no answer in time.
    Silent,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Error(error)
    }
}

async fn answer<T>(asked: impl Future<Output = sqlx::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(answered) => answered.map_err(Failure::Error),
        Err(_) => Err(Failure::Silent),
    }
}
