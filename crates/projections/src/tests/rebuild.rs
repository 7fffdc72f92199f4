//! Delete the read models, rebuild them from the log, and they are what they were.

use std::path::Path;

use proptest::prelude::*;
use sqlx::{Connection, Row, SqliteConnection};

use super::history::{History, histories};
use super::log::MemoryLog;
use crate::projector::Tables;
use crate::read_models::ReadModels;
use crate::rebuild::rebuild;

/// All rows of all tables, as text.
async fn dump(path: &Path) -> Vec<String> {
    let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let mut dump = Vec::new();
    for sql in [
        "SELECT json_array(submitted_position, hex(id), status, pipeline, due_at, search, summary) FROM job_summary ORDER BY 1",
        "SELECT json_array(label, submitted_position) FROM job_label ORDER BY 1",
        "SELECT json_array(submitted_position, stage_index, attempt, stage, worker, started_at, finished_at, outcome, class, error, retry_at) FROM job_timeline ORDER BY 1",
        "SELECT json_array(name, value) FROM stats ORDER BY 1",
        "SELECT json_array(position, hash) FROM checkpoint",
    ] {
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        dump.extend(rows.iter().map(|row| row.get::<String, _>(0)));
    }
    dump
}

/// Projects in batches of the given sizes, with a restart after each batch whose flag is set.
async fn live(path: &Path, history: &History, batches: &[(usize, bool)]) {
    let mut tables = Tables::open(path).await.unwrap();
    let mut entries = history.entries.as_slice();
    for (size, restart) in batches.iter().cycle() {
        if entries.is_empty() {
            break;
        }
        let (batch, rest) = entries.split_at((*size).min(entries.len()));
        entries = rest;
        // A batch comes in pages.
        let (one, other) = batch.split_at(batch.len() / 2);
        tables.project(&[one, other]).await.unwrap();
        if *restart {
            tables = Tables::open(path).await.unwrap();
        }
    }
    tables.close().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rebuilt_equals_live(
        history in histories(60),
        batches in prop::collection::vec((1_usize..12, any::<bool>()), 1..8),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("read.db");
            live(&path, &history, &batches).await;
            let before = dump(&path).await;
            rebuild(&path, &MemoryLog::new(&history.entries).feed()).await.unwrap();
            assert_eq!(dump(&path).await, before);
            assert!(!folder.path().join("read.db.rebuild").exists());
        });
    }
}

#[tokio::test]
async fn a_file_of_another_log_is_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("read.db");
    let mut history = History::default();
    history.step(super::history::job_id(0), super::history::Step::Submit { run_at: None, labels: false });
    live(&path, &history, &[(1, false)]).await;
    let same = ReadModels::open(&path, &MemoryLog::new(&history.entries)).await.unwrap();
    assert_eq!(same.position().0, 1);
    // The log was set back to a backup from before.
    let other = ReadModels::open(&path, &MemoryLog::new(&[])).await.unwrap();
    assert_eq!(other.position().0, 0);
    assert_eq!(other.stats().await.unwrap().jobs.submitted, 0);
}

#[tokio::test]
async fn a_damaged_file_is_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("read.db");
    std::fs::write(&path, "this is no database, and it is long enough to be seen as one".repeat(100))
        .unwrap();
    let models = ReadModels::open(&path, &MemoryLog::new(&[])).await.unwrap();
    assert_eq!(models.position().0, 0);
}

#[tokio::test]
async fn a_failed_commit_leaves_rows_and_checkpoint_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("read.db");
    let mut history = History::default();
    for n in 0..3 {
        history.step(super::history::job_id(n), super::history::Step::Submit { run_at: None, labels: true });
    }
    live(&path, &history, &[(1, false)]).await;
    let mut tables = Tables::open(&path).await.unwrap();
    // The last statement of the transaction fails.
    let mut saboteur = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    sqlx::raw_sql("CREATE TRIGGER broken BEFORE UPDATE ON stats BEGIN SELECT raise(ABORT, 'no'); END")
        .execute(&mut saboteur)
        .await
        .unwrap();
    history.step(super::history::job_id(0), super::history::Step::Start);
    let before = dump(&path).await;
    tables.project(&[&history.entries[3..]]).await.unwrap_err();
    assert_eq!(dump(&path).await, before);
}
