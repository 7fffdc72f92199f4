//! Making, dropping and exchanging sets of tables.

use std::time::Duration;

use quillwork_app::ports::store::Head;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row, Transaction};

use super::lease::FREE;
use super::{Database, Turn};
use crate::read_models::ReadModelError;

const SCHEMA: &str = include_str!("../../../../migrations/postgres/read/schema.sql");
const INDEXES: &str = include_str!("../../../../migrations/postgres/read/indexes.sql");

/// One at a time makes, drops or exchanges tables: the name of a lock, `quillrea` in bytes.
const LOCK: i64 = 0x7175_696c_6c72_6561;

/// True if there are tables.
pub(crate) async fn exists(database: &Database) -> Result<bool, ReadModelError> {
    let rows = database.run(sqlx::query(database.sql(EXISTS))).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
}

/// Asks the tables of the catalog: what `to_regclass` remembers may be older than a lock that was waited for.
const EXISTS: &str = "
    SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = '{schema}' AND c.relname = 'checkpoint')";

/// Makes the tables if there are none. Several processes may do so at once.
pub(crate) async fn create(database: &Database) -> Result<(), ReadModelError> {
    if exists(database).await? {
        return Ok(());
    }
    let mut tx = locked(database).await?;
    create_in(&mut tx, database, INDEXES).await?;
    tx.commit().await?;
    Ok(())
}

/// Makes empty tables in the place of those that an earlier rebuild may have left, without the indexes that lists need:
/// to make them once the tables are full takes less than to keep them up to date meanwhile.
pub(crate) async fn create_anew(database: &Database) -> Result<(), ReadModelError> {
    let mut tx = locked(database).await?;
    if is_there(&mut tx, database).await? {
        let held = sqlx::query_scalar(database.sql(HELD)).persistent(false).fetch_optional(&mut *tx).await?;
        if held == Some(true) {
            return Err(ReadModelError::Rebuilding);
        }
    }
    sqlx::raw_sql(database.sql("DROP SCHEMA IF EXISTS {schema} CASCADE")).execute(&mut *tx).await?;
    create_in(&mut tx, database, "").await?;
    tx.commit().await?;
    Ok(())
}

/// Makes the indexes that [`create_anew`] left out.
pub(crate) async fn index(database: &Database) -> Result<(), ReadModelError> {
    let mut tx = locked(database).await?;
    let index = format!("SET LOCAL search_path TO {{schema}}; {INDEXES}");
    sqlx::raw_sql(database.sql(&index)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

const HELD: &str = "SELECT coalesce(lease_until >= clock_timestamp(), false) FROM {schema}.checkpoint";

/// Drops the tables if there are any, when nobody reads them any more.
pub(crate) async fn drop(database: &Database) -> Result<(), ReadModelError> {
    let mut n_tries = 0;
    while exists(database).await? {
        n_tries += 1;
        match drop_unread(database).await {
            Err(ReadModelError::Database(error)) if is_locked(&error) && n_tries < UNREAD.0 => {
                tokio::time::sleep(UNREAD.1).await;
            }
            other => return other,
        }
    }
    Ok(())
}

/// How often and after what time it is seen whether the tables are still read.
const UNREAD: (u32, Duration) = (300, Duration::from_millis(100));

fn is_locked(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("55P03"))
}

async fn drop_unread(database: &Database) -> Result<(), ReadModelError> {
    // Who waits for no lock is part of no deadlock, which might end the query of a reader.
    const LOCK_ALL: &str = "
        LOCK TABLE {schema}.job_summary, {schema}.job_label, {schema}.job_timeline, {schema}.queues, {schema}.stats,
                   {schema}.content_analytics, {schema}.content_rater, {schema}.checkpoint
        IN ACCESS EXCLUSIVE MODE NOWAIT";
    let mut tx = locked(database).await?;
    sqlx::raw_sql(database.sql(LOCK_ALL)).execute(&mut *tx).await?;
    sqlx::raw_sql(database.sql("DROP SCHEMA IF EXISTS {schema} CASCADE")).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets the planner know what is in tables that were filled in one go.
pub(crate) async fn analyze(database: &Database) -> Result<(), ReadModelError> {
    const ANALYZE: &str = "
        ANALYZE {schema}.job_summary, {schema}.job_label, {schema}.job_timeline, {schema}.content_analytics,
                {schema}.content_rater";
    sqlx::raw_sql(database.sql(ANALYZE)).execute(database.pool()).await?;
    Ok(())
}

/// Puts `new` in the place of the tables that `turn` may write, which become `old`, and ends the turn.
///
/// Readers see the one or the other. A projector that is in a transaction is waited for; one that begins a transaction
/// finds that it has lost its turn.
pub(crate) async fn swap(turn: &Turn, new: &Database, old: &Database) -> Result<bool, ReadModelError> {
    let live = &turn.database;
    let mut tx = locked(live).await?;
    let held = sqlx::query(live.sql("UPDATE {schema}.checkpoint SET lease_until = NULL WHERE lease = $1"))
        .bind(turn.lease)
        .persistent(false)
        .execute(&mut *tx)
        .await?;
    if held.rows_affected() != 1 {
        return Ok(false);
    }
    let (live, new, old) = (live.schema(), new.schema(), old.schema());
    let exchange = format!(
        "ALTER SCHEMA {live} RENAME TO {old};
         ALTER SCHEMA {new} RENAME TO {live};
         UPDATE {live}.checkpoint SET lease = NULL, lease_until = NULL;
         SELECT pg_notify('{live}', '{FREE}')"
    );
    sqlx::raw_sql(AssertSqlSafe(exchange)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

async fn locked(database: &Database) -> Result<Transaction<'static, Postgres>, ReadModelError> {
    let mut tx = database.pool().begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).persistent(false).execute(&mut *tx).await?;
    Ok(tx)
}

async fn is_there(tx: &mut PgConnection, database: &Database) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(database.sql(EXISTS)).persistent(false).fetch_one(tx).await
}

const NO_SCHEMA: &str = "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{schema}')";

async fn create_in(tx: &mut PgConnection, database: &Database, indexes: &str) -> Result<(), ReadModelError> {
    // Another process may have been first.
    if is_there(tx, database).await? {
        return Ok(());
    }
    // An administrator may have made the schema for a role that may not.
    let make = match sqlx::query_scalar(database.sql(NO_SCHEMA)).persistent(false).fetch_one(&mut *tx).await?
    {
        true => "CREATE SCHEMA {schema};",
        false => "",
    };
    let hash = Head::EMPTY.hash;
    let create = format!(
        "{make} SET LOCAL search_path TO {{schema}}; {SCHEMA}; {indexes};
         INSERT INTO checkpoint (id, position, hash) VALUES (1, 0, '{hash}');"
    );
    sqlx::raw_sql(database.sql(&create)).execute(tx).await?;
    Ok(())
}
