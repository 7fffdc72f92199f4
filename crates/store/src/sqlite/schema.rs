//! The schema of the log file, migrated step by step.

use quillwork_app::ports::store::StoreError;
use rusqlite::{Connection, TransactionBehavior};

use crate::sqlite::rows::store_error;

/// Marks the file as ours: "Qwrk".
const APPLICATION_ID: i64 = 0x5177_726b;

/// Every migration, oldest first. `PRAGMA user_version` counts those applied.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../../migrations/sqlite/log/0001_create_log.sql"),
    include_str!("../../../../migrations/sqlite/log/0002_tenants_and_held_tasks.sql"),
    include_str!("../../../../migrations/sqlite/log/0003_archived_runs.sql"),
    include_str!("../../../../migrations/sqlite/log/0004_delayed_tasks.sql"),
];

/// Brings the file to the newest schema. Refuses a file that is not ours or is newer than this program.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let pragma = |conn: &Connection, name: &str| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(store_error)
    };
    let applied = usize::try_from(pragma(conn, "user_version")?).unwrap_or(usize::MAX);
    let owner = pragma(conn, "application_id")?;
    if applied > 0 && owner != APPLICATION_ID {
        return Err(StoreError::Corrupt("log.db is a database of another program".into()));
    }
    if applied > MIGRATIONS.len() {
        return Err(StoreError::Unavailable(format!(
            "log.db has schema {applied}, written by a newer version of quillwork; this one knows up to {}. Use that version",
            MIGRATIONS.len()
        )));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(applied) {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store_error)?;
        tx.execute_batch(migration).map_err(store_error)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(store_error)?;
        tx.pragma_update(None, "user_version", index + 1).map_err(store_error)?;
        tx.commit().map_err(store_error)?;
        tracing::info!(schema = index + 1, "migrated log.db");
    }
    Ok(())
}
