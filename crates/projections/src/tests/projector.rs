use std::time::Duration;

use quillwork_app::feed::FeedError;
use quillwork_domain::id::Position;
use tokio_util::sync::CancellationToken;

use super::history::{History, Step, job_id};
use super::log::MemoryLog;
use super::place::{Place, in_every_place};
use crate::projector::{Projector, ProjectorError};
use crate::read_models::Health;

fn history() -> History {
    let mut history = History::default();
    for n in 0..4 {
        history.step(job_id(n), Step::Submit { run_at: None, labels: true });
        history.step(job_id(n), Step::Start);
    }
    history
}

in_every_place!(
    follows_the_log_and_tells_who_waits,
    stops_at_a_hole,
    stops_at_an_event_that_it_cannot_read,
    stops_at_a_missing_version,
);

async fn follows_the_log_and_tells_who_waits(place: Place) {
    let log = MemoryLog::new(&history().entries);
    let models = place.open(&log).await;
    assert!(!models.wait_for(Position(1), Duration::from_millis(5)).await);
    let shutdown = CancellationToken::new();
    let projector = tokio::spawn(Projector::run(models.clone(), log.feed(), shutdown.clone()));
    assert!(models.wait_for(Position(8), Duration::from_secs(5)).await);
    assert_eq!(models.stats().await.unwrap().jobs.running, 4);
    shutdown.cancel();
    projector.await.unwrap().unwrap();
    assert_eq!(models.health(), Health::Idle);
}

async fn stops_at_a_hole(place: Place) {
    let mut log = MemoryLog::new(&history().entries);
    log.0.remove(3);
    let models = place.open(&log).await;
    let error = Projector::run(models.clone(), log.feed(), CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(error, ProjectorError::Feed(FeedError::Hole { expected: Position(4), .. })),
        "{error:?}"
    );
    assert!(matches!(models.health(), Health::Failed(_)));
    assert_eq!(models.position(), Position(0));
}

async fn stops_at_an_event_that_it_cannot_read(place: Place) {
    let mut log = MemoryLog::new(&history().entries);
    log.0[7].kind = "JobTeleported".into();
    let models = place.open(&log).await;
    let error = Projector::run(models.clone(), log.feed(), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, ProjectorError::Feed(FeedError::Undecodable { position: Position(8), .. })));
    let Health::Failed(reason) = models.health() else { panic!() };
    assert!(reason.contains("JobTeleported"), "{reason}");
}

async fn stops_at_a_missing_version(place: Place) {
    let mut history = history();
    history.entries[5].recorded.version.0 += 1;
    let log = MemoryLog::new(&history.entries);
    let models = place.open(&log).await;
    let error = Projector::run(models, log.feed(), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, ProjectorError::OutOfStep(_)), "{error:?}");
}

#[tokio::test]
async fn a_second_projector_of_a_file_writes_nothing() {
    let place = Place::sqlite();
    let history = history();
    let mut first = place.tables().await;
    let mut second = place.tables().await;
    first.project(&[&history.entries]).await.unwrap();
    second.project(&[&history.entries[..4]]).await.unwrap_err();
    let models = place.open(&MemoryLog::new(&history.entries)).await;
    assert_eq!(models.stats().await.unwrap().jobs.submitted, 4);
    assert_eq!(models.position(), Position(8));
}
