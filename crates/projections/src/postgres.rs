//! The read models in a PostgreSQL database, beside the log: all of its SQL is in the files below.
//!
//! Each version of the tables is a schema of its own, so that an old and a new program run side by side during an
//! upgrade. Texts say `{schema}` where the name of the schema goes.

pub(crate) mod content;
pub(crate) mod lease;
pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod query;
pub(crate) mod schema;
pub(crate) mod usage;
pub(crate) mod write;

use std::borrow::Cow;

use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};

pub(crate) use lease::Turn;
pub(crate) use lookup::Lookups;

use crate::backend::SCHEMA_VERSION;

/// How to reach the read models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PgReadConfig {
    /// A pooler stands between that gives each transaction another session. Nothing is prepared then, nothing is
    /// listened for, and processes learn of each other by asking.
    pub pooled: bool,
}

/// One set of tables.
#[derive(Clone)]
pub(crate) struct Database {
    pool: PgPool,
    pooled: bool,
    schema: String,
}

/// PostgreSQL's codes for data that is damaged.
const UNUSABLE: [&str; 2] = ["XX001", "XX002"];

/// True if the error says that the tables cannot be used by anyone.
pub(crate) fn is_unusable(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| UNUSABLE.contains(&code.as_ref()))
}

impl Database {
    /// The tables of this version.
    pub(crate) fn live(pool: PgPool, config: PgReadConfig) -> Self {
        Self { pool, pooled: config.pooled, schema: format!("quillwork_read_v{SCHEMA_VERSION}") }
    }

    /// Other tables in the same database.
    pub(crate) fn beside(&self, suffix: &str) -> Self {
        Self { pool: self.pool.clone(), pooled: self.pooled, schema: format!("{}{suffix}", self.schema) }
    }

    /// The name of the schema, and of the channel on which its projector tells what it does.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// `text` about these tables.
    pub(crate) fn sql(&self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(text.replace("{schema}", &self.schema))
    }

    /// Runs one statement.
    pub(crate) async fn run(
        &self,
        query: Query<'static, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        if !self.pooled {
            return query.fetch_all(&self.pool).await;
        }
        let pool = self.pool.clone();
        to_the_end(async move {
            // What is prepared and what is run must meet in one session.
            let mut tx = pool.begin().await?;
            let rows = query.persistent(false).fetch_all(&mut *tx).await?;
            tx.commit().await?;
            Ok(rows)
        })
        .await
    }
}

/// Runs a transaction to its end, also when whoever asked has gone. One that is dropped while it begins stays open on its
/// connection, and the next user of the pool would find himself in it.
pub(crate) async fn to_the_end<T: Send + 'static>(
    transaction: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, sqlx::Error> {
    match tokio::spawn(transaction).await {
        Ok(done) => done,
        Err(error) => Err(sqlx::Error::Io(std::io::Error::other(error))),
    }
}

/// PostgreSQL's integers are signed. What is stored here is never beyond their range.
fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn from_i64(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// PostgreSQL's text has no character of code 0, which must not stop a projector.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}
