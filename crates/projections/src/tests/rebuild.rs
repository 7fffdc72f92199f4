//! Delete the read models, rebuild them from the log, and they are what they were.

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::history::{History, Step, histories, job_id};
use super::log::MemoryLog;
use super::place::{Place, in_every_place};
use crate::projector::Projector;
use crate::read_models::{Health, ReadModels};

in_every_place!(tables_of_another_log_are_emptied, a_failed_commit_leaves_rows_and_checkpoint_as_they_were,);

/// Projects in batches of the given sizes, with a restart after each batch whose flag is set.
async fn live(place: &Place, history: &History, batches: &[(usize, bool)]) {
    let mut tables = place.tables().await;
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
            tables = place.tables().await;
        }
    }
    tables.close().await.unwrap();
}

fn batches() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((1_usize..12, any::<bool>()), 1..8)
}

fn check(place: impl FnOnce() -> Place, history: &History, batches: &[(usize, bool)]) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let place = place();
        live(&place, history, batches).await;
        let before = place.dump().await;
        place.rebuild(history).await;
        assert_eq!(place.dump().await, before);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rebuilt_equals_live_on_sqlite(history in histories(60), batches in batches()) {
        check(Place::sqlite, &history, &batches);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn rebuilt_equals_live_on_postgres(history in histories(60), batches in batches()) {
        check(Place::postgres, &history, &batches);
    }
}

async fn tables_of_another_log_are_emptied(place: Place) {
    let mut history = History::default();
    for n in 0..2 {
        history.step(job_id(n), Step::Submit { run_at: None, labels: true });
    }
    live(&place, &history, &[(1, false)]).await;
    assert_eq!(place.open(&MemoryLog::new(&history.entries)).await.position().0, 2);
    // The log was set back to a backup from before, and then went another way.
    history.entries.truncate(1);
    history.step(job_id(0), Step::Cancel);
    let log = MemoryLog::new(&history.entries);
    let models = place.open(&log).await;
    let projector = tokio::spawn(Projector::run(models.clone(), log.feed(), CancellationToken::new()));
    let mut health = models.watch_health();
    health.wait_for(|health| *health == Health::Running).await.unwrap();
    let stats = models.stats().await.unwrap();
    assert_eq!((stats.jobs.submitted, stats.jobs.cancelled, stats.position.0), (1, 1, 2));
    projector.abort();
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

async fn a_failed_commit_leaves_rows_and_checkpoint_as_they_were(place: Place) {
    let mut history = History::default();
    for n in 0..3 {
        history.step(job_id(n), Step::Submit { run_at: None, labels: true });
    }
    live(&place, &history, &[(1, false)]).await;
    let mut tables = place.tables().await;
    place.sabotage().await;
    history.step(job_id(0), Step::Start);
    let before = place.dump().await;
    tables.project(&[&history.entries[3..]]).await.unwrap_err();
    assert_eq!(place.dump().await, before);
}
