use std::time::Duration;

use quillwork_app::feed::FeedError;
use quillwork_domain::id::Position;
use tokio_util::sync::CancellationToken;

use super::history::{History, Step, job_id};
use super::log::MemoryLog;
use crate::projector::{Projector, ProjectorError, Tables};
use crate::read_models::{Health, ReadModels};

fn history() -> History {
    let mut history = History::default();
    for n in 0..4 {
        history.step(job_id(n), Step::Submit { run_at: None, labels: true });
        history.step(job_id(n), Step::Start);
    }
    history
}

async fn open(log: &MemoryLog, folder: &tempfile::TempDir) -> ReadModels {
    ReadModels::open(&folder.path().join("read.db"), log).await.unwrap()
}

#[tokio::test]
async fn follows_the_log_and_tells_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let log = MemoryLog::new(&history().entries);
    let models = open(&log, &folder).await;
    assert!(!models.wait_for(Position(1), Duration::from_millis(5)).await);
    let shutdown = CancellationToken::new();
    let projector = tokio::spawn(Projector::run(models.clone(), log.feed(), shutdown.clone()));
    assert!(models.wait_for(Position(8), Duration::from_secs(5)).await);
    assert_eq!(models.stats().await.unwrap().jobs.running, 4);
    shutdown.cancel();
    projector.await.unwrap().unwrap();
    assert_eq!(models.health(), Health::Idle);
}

#[tokio::test]
async fn stops_at_a_hole() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = MemoryLog::new(&history().entries);
    log.0.remove(3);
    let models = open(&log, &folder).await;
    let error = Projector::run(models.clone(), log.feed(), CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(error, ProjectorError::Feed(FeedError::Hole { expected: Position(4), .. })),
        "{error:?}"
    );
    assert!(matches!(models.health(), Health::Failed(_)));
    assert_eq!(models.position(), Position(0));
}

#[tokio::test]
async fn stops_at_an_event_that_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = MemoryLog::new(&history().entries);
    log.0[7].kind = "JobTeleported".into();
    let models = open(&log, &folder).await;
    let error = Projector::run(models.clone(), log.feed(), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, ProjectorError::Feed(FeedError::Undecodable { position: Position(8), .. })));
    let Health::Failed(reason) = models.health() else { panic!() };
    assert!(reason.contains("JobTeleported"), "{reason}");
}

#[tokio::test]
async fn stops_at_a_missing_version() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = history();
    history.entries[5].recorded.version.0 += 1;
    let log = MemoryLog::new(&history.entries);
    let models = open(&log, &folder).await;
    let error = Projector::run(models, log.feed(), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, ProjectorError::OutOfStep(_)), "{error:?}");
}

#[tokio::test]
async fn a_second_projector_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("read.db");
    let history = history();
    let mut first = Tables::open(&path).await.unwrap();
    let mut second = Tables::open(&path).await.unwrap();
    first.project(&[&history.entries]).await.unwrap();
    second.project(&[&history.entries[..4]]).await.unwrap_err();
    let models = ReadModels::open(&path, &MemoryLog::new(&history.entries)).await.unwrap();
    assert_eq!(models.stats().await.unwrap().jobs.submitted, 4);
    assert_eq!(models.position(), Position(8));
}
