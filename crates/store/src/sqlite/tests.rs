//! The conformance suite on SQLite, and what only a file can do wrong.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::ports::store::{LogReader, LogWriter, StoreError};
use quillwork_domain::id::Position;
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, Fixture, conforms};

struct InTempDir(TempDir);

impl InTempDir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn own(&self) -> DataDir {
        DataDir::own(self.0.path()).unwrap()
    }
}

#[async_trait]
impl Fixture for InTempDir {
    async fn open(&self) -> (Box<dyn LogWriter>, Arc<dyn LogReader>) {
        let (writer, reader) = open(&self.own()).unwrap();
        (Box::new(writer), reader)
    }
}

conforms!(InTempDir::new());

#[tokio::test]
async fn held_tasks_are_orphans_after_reopening() {
    conformance::held_tasks_are_orphans_after_reopening(&InTempDir::new()).await;
}

#[test]
fn a_directory_has_one_owner_and_the_second_is_told_which() {
    let dir = InTempDir::new();
    let owner = dir.own();
    let error = DataDir::own(dir.0.path()).unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    drop(owner);
    dir.own();
}

#[test]
fn a_path_that_cannot_be_a_directory_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = DataDir::own(&file.path().join("data")).unwrap_err().to_string();
    assert!(error.contains("data directory") && error.contains("--data-dir"), "{error}");
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let dir = InTempDir::new();
    std::fs::write(dir.0.path().join(LOG_FILE), "not a database, but long enough to look at".repeat(100))
        .unwrap();
    let error = open(&dir.own()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = InTempDir::new();
    drop(open(&dir.own()).unwrap());
    let conn = Connection::open(dir.0.path().join(LOG_FILE)).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let error = open(&dir.own()).map(drop).unwrap_err().to_string();
    assert!(error.contains("newer version"), "{error}");
}

/// Of the schema that was released first.
#[tokio::test]
async fn tasks_of_before_belong_to_the_default_tenant() {
    let dir = InTempDir::new();
    let conn = Connection::open(dir.0.path().join(LOG_FILE)).unwrap();
    conn.execute_batch(include_str!("../../../../migrations/sqlite/log/0001_create_log.sql")).unwrap();
    conn.execute_batch(
        "INSERT INTO tasks VALUES (x'00000000000000000000000000000001', 0, 'echo', 0, 1, NULL), (x'00000000000000000000000000000002', 0, 'echo', 0, 1, 7);
         INSERT INTO leases VALUES (7, 'me', 99);
         PRAGMA application_id = 0x5177726b; PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(conn);
    let (mut writer, reader) = open(&dir.own()).unwrap();
    let tasks = reader.tasks(None, 10).await.unwrap();
    assert_eq!(tasks.iter().map(|(task, _)| &*task.tenant).collect::<Vec<_>>(), ["default", "default"]);
    let lease = writer.open_lease("me", conformance::TTL).await.unwrap();
    assert!(lease.0 > 7);
    assert_eq!(writer.orphans(lease, 10).await.unwrap().len(), 1);
    assert_eq!(writer.survey().await.unwrap().backlog, 2);
}

#[tokio::test]
async fn a_damaged_row_is_named() {
    let dir = InTempDir::new();
    conformance::appending_and_reading(&dir).await;
    let conn = Connection::open(dir.0.path().join(LOG_FILE)).unwrap();
    for (damage, position) in [
        ("meta = x'7b' WHERE position = 3", "event 3"),
        ("meta = substr(meta, 1, length(meta) - 1) WHERE position = 2", "event 2"),
        ("stream = x'00' WHERE position = 1", "event 1"),
    ] {
        conn.execute(&format!("UPDATE events SET {damage}"), []).unwrap();
        let (_writer, reader) = open(&dir.own()).unwrap();
        let whole = reader.read_all(Position(0), 10).await.unwrap_err();
        let told = reader.replay(Position(0), 10).await.unwrap_err();
        for error in [whole, told] {
            assert!(matches!(&error, StoreError::Corrupt(message) if message.contains(position)), "{error}");
        }
    }
}

/// The hot statements use their indexes, also when there are no statistics.
#[test]
fn no_hot_statement_scans_a_table() {
    let dir = InTempDir::new();
    let _open = open(&dir.own()).unwrap();
    let conn = Connection::open(dir.0.path().join(LOG_FILE)).unwrap();
    for sql in [
        "SELECT stream FROM tasks WHERE lease IS NULL AND NOT delayed AND handler = 'h' AND tenant = 't' ORDER BY priority DESC, run_at, stream, stage LIMIT 9",
        "SELECT tenant FROM tasks WHERE lease IS NULL AND NOT delayed AND handler = 'h' AND tenant > 't' ORDER BY tenant LIMIT 1",
        "SELECT run_at FROM tasks WHERE lease IS NULL AND delayed AND handler = 'h' AND run_at > 5 ORDER BY run_at LIMIT 1",
        "UPDATE tasks SET delayed = 0 WHERE (stream, stage) IN (SELECT stream, stage FROM tasks WHERE lease IS NULL AND delayed AND handler = 'h' AND run_at <= 5 ORDER BY run_at LIMIT 9)",
        "SELECT version FROM events WHERE stream = x'00' ORDER BY version",
        "SELECT version FROM events WHERE position > 5 ORDER BY position LIMIT 5",
        "DELETE FROM tasks WHERE stream = x'00' AND stage = 0 AND lease IS 1",
        "DELETE FROM events WHERE stream = x'00'",
        "SELECT first FROM archived_runs WHERE last > 5 ORDER BY last LIMIT 5",
    ] {
        let plan: Vec<String> = conn
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap()
            .query_map([], |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let plan = plan.join("; ");
        assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

/// Flags come from `.cargo/config.toml`, and would be missed by nobody but whoever measures.
#[test]
fn sqlite_is_compiled_with_our_flags() {
    let conn = Connection::open_in_memory().unwrap();
    let options: Vec<String> = conn
        .prepare("PRAGMA compile_options")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert!(options.contains(&"DEFAULT_MEMSTATUS=0".to_owned()), "{options:?}");
    assert!(!options.contains(&"ENABLE_MEMORY_MANAGEMENT".to_owned()), "{options:?}");
}
