//! The schema of the log, migrated step by step, and what a server must be to hold it.

use quillwork_app::ports::store::StoreError;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use crate::postgres::PostgresConfig;
use crate::postgres::place::Place;

/// Every migration, oldest first.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../../migrations/postgres/log/0001_create_log.sql"),
    include_str!("../../../../migrations/postgres/log/0002_archived_runs.sql"),
    include_str!("../../../../migrations/postgres/log/0003_cache_entries.sql"),
    include_str!("../../../../migrations/postgres/log/0004_who_hears.sql"),
];

/// What our row of `quillwork.schema_version` is called.
const COMPONENT: &str = "log";

/// The oldest server that was tried.
const MIN_SERVER: i32 = 140_000;

/// Names the lock that lets one process migrate at a time: "Qwrkmigr".
const LOCK: i64 = 0x5177_726b_6d69_6772;

/// Brings the database to the newest schema; returns how many migrations that took. Any number of processes may do so at
/// once. Refuses a schema that is newer than this program.
pub async fn migrate(config: &PostgresConfig) -> Result<u32, StoreError> {
    let place = Place::new(config)?;
    let mut conn = place.connect().await?;
    check_server(&place, &mut conn).await?;
    let applied = apply(&mut conn).await.map_err(|error| place.error(error))?;
    match applied {
        Applied::All(n) => {
            if n > 0 {
                tracing::info!(schema = MIGRATIONS.len(), database = place.name, "migrated the log");
            }
            Ok(n)
        }
        Applied::TooNew(version) => Err(too_new(&place, version)),
    }
}

/// Checks that the database has the schema of this program and that the server can hold a log.
pub(super) async fn check_schema(config: &PostgresConfig) -> Result<(), StoreError> {
    let place = Place::new(config)?;
    let mut conn = place.connect().await?;
    check_server(&place, &mut conn).await?;
    let version = version(&mut conn).await.map_err(|error| place.error(error))?;
    let newest = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    if version > newest {
        return Err(too_new(&place, version));
    }
    if version < newest {
        return Err(StoreError::Unavailable(format!(
            "the log in PostgreSQL at {} has schema {version}, and this version needs {newest}; run `quillwork migrate`",
            place.name
        )));
    }
    Ok(())
}

enum Applied {
    All(u32),
    TooNew(i32),
}

/// In one transaction: all migrations or none.
async fn apply(conn: &mut PgConnection) -> sqlx::Result<Applied> {
    let mut tx = conn.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).persistent(false).execute(&mut *tx).await?;
    let before = version(&mut tx).await?;
    if before == 0 {
        // Whoever may not create schemas can be given an empty one.
        let exists =
            sqlx::query("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'quillwork')");
        let exists = exists.persistent(false);
        if !exists.fetch_one(&mut *tx).await?.try_get::<bool, _>(0)? {
            sqlx::raw_sql("CREATE SCHEMA quillwork").execute(&mut *tx).await?;
        }
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS quillwork.schema_version (component text PRIMARY KEY, version integer NOT NULL)",
        )
        .execute(&mut *tx)
        .await?;
    }
    let Some(missing) = usize::try_from(before).ok().and_then(|before| MIGRATIONS.get(before..)) else {
        return Ok(Applied::TooNew(before));
    };
    if missing.is_empty() {
        return Ok(Applied::All(0));
    }
    for migration in missing {
        sqlx::raw_sql(*migration).execute(&mut *tx).await?;
    }
    sqlx::query(
        "INSERT INTO quillwork.schema_version (component, version) VALUES ($1, $2)
         ON CONFLICT (component) DO UPDATE SET version = excluded.version",
    )
    .bind(COMPONENT)
    .bind(i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX))
    .persistent(false)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Applied::All(u32::try_from(missing.len()).unwrap_or(u32::MAX)))
}

/// How many migrations were applied.
async fn version(conn: &mut PgConnection) -> sqlx::Result<i32> {
    let mut tx = conn.begin().await?;
    // Of the tables of the catalog: what `to_regclass` remembers may be older than a lock that was waited for.
    let exists = sqlx::query(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                        WHERE n.nspname = 'quillwork' AND c.relname = 'schema_version')",
    )
    .persistent(false);
    let mut version = None;
    if exists.fetch_one(&mut *tx).await?.try_get::<bool, _>(0)? {
        let select = sqlx::query("SELECT version FROM quillwork.schema_version WHERE component = $1");
        version = select.bind(COMPONENT).persistent(false).fetch_optional(&mut *tx).await?;
    }
    let version = version.map_or(Ok(0), |row| row.try_get(0))?;
    tx.commit().await?;
    Ok(version)
}

fn too_new(place: &Place, version: i32) -> StoreError {
    StoreError::Unavailable(format!(
        "the log in PostgreSQL at {} has schema {version}, written by a newer version of quillwork; this one knows up to {}. Use that version",
        place.name,
        MIGRATIONS.len()
    ))
}

/// Refuses a server that cannot keep what we promise.
async fn check_server(place: &Place, conn: &mut PgConnection) -> Result<(), StoreError> {
    let facts = async {
        let mut tx = conn.begin().await?;
        let row = sqlx::query(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
               current_setting('server_encoding'), pg_is_in_recovery(), current_setting('fsync')",
        )
        .persistent(false)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        let number: i32 = row.try_get(0)?;
        let version: String = row.try_get(1)?;
        let encoding: String = row.try_get(2)?;
        let standby: bool = row.try_get(3)?;
        let fsync: String = row.try_get(4)?;
        sqlx::Result::Ok((number, version, encoding, standby, fsync))
    };
    let (number, version, encoding, standby, fsync) = facts.await.map_err(|error| place.error(error))?;
    let name = &place.name;
    let refuse = |what: String| Err(StoreError::Unavailable(what));
    if number < MIN_SERVER {
        return refuse(format!("PostgreSQL at {name} is version {version}; quillwork needs 14 or newer"));
    }
    if encoding != "UTF8" {
        return refuse(format!(
            "the database {name} has the encoding {encoding}; create one with `createdb --encoding=UTF8 --template=template0`"
        ));
    }
    if standby {
        return refuse(format!("PostgreSQL at {name} is a read-only standby; connect to the primary server"));
    }
    if fsync == "off" {
        tracing::warn!(
            database = name,
            "fsync is off in PostgreSQL: a crash of the machine loses or damages the log"
        );
    }
    Ok(())
}
