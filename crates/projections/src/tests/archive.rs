//! Jobs that left the log are counted, and not shown.

use std::collections::BTreeSet;

use proptest::prelude::*;
use quillwork_app::feed::FeedError;
use quillwork_domain::id::Position;
use quillwork_domain::job::{ErrorClass, Status};
use quillwork_domain::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::history::{History, Step, histories, job_id};
use super::place::{Place, in_every_place};
use crate::job_summary::JobFilter;
use crate::projector::{Projector, ProjectorError};

in_every_place!(
    archived_jobs_are_counted_and_not_shown,
    jobs_that_ended_are_found_in_the_order_of_their_ends,
    a_projector_goes_on_behind_holes,
    a_hole_that_nobody_tells_of_is_an_alarm,
);

/// Job 0 completes, job 1 is cancelled after a failure, job 2 waits; then the first two leave.
fn history() -> History {
    let mut history = History::default();
    for n in 0..3 {
        history.step(job_id(n), Step::Submit { run_at: None, labels: true });
    }
    history.step(job_id(1), Step::Start);
    history.step(job_id(0), Step::Start);
    history.step(job_id(1), Step::Fail(ErrorClass::Transient));
    history.step(job_id(0), Step::Complete);
    history.step(job_id(1), Step::Cancel);
    history
}

async fn archived_jobs_are_counted_and_not_shown(place: Place) {
    let mut history = history();
    let n_before = history.entries.len();
    history.archive([job_id(0), job_id(1)]);
    let mut tables = place.tables().await;
    tables.project(&[&history.entries[..n_before]]).await.unwrap();
    let models = place.open(&history.log()).await;
    let before = models.stats().await.unwrap();
    tables.project(&[&history.entries[n_before..]]).await.unwrap();
    let after = models.stats().await.unwrap();
    assert_eq!((after.jobs, &after.stages), (before.jobs, &before.stages));
    assert_eq!((after.jobs.completed, after.jobs.cancelled, after.stages["stage-0"].retried), (1, 1, 1));
    assert_eq!(models.job(job_id(0)).await.unwrap(), None);
    assert!(models.timeline(job_id(1)).await.unwrap().is_empty());
    for filter in [
        JobFilter::default(),
        JobFilter { label: Some("team:blue".into()), ..JobFilter::default() },
        JobFilter { search: Some("things".into()), ..JobFilter::default() },
    ] {
        let page = models.jobs(&filter, 10).await.unwrap();
        assert_eq!(page.items.iter().map(|job| job.id).collect::<Vec<_>>(), [job_id(2)], "{filter:?}");
    }
    let dump = place.dump().await;
    assert_eq!(dump.iter().filter(|row| row.contains("team:blue")).count(), 1, "{dump:#?}");
}

async fn jobs_that_ended_are_found_in_the_order_of_their_ends(place: Place) {
    let mut history = history();
    history.step(job_id(3), Step::Submit { run_at: None, labels: false });
    history.step(job_id(3), Step::Cancel);
    history.step(job_id(4), Step::Submit { run_at: None, labels: false });
    history.step(job_id(4), Step::Cancel);
    history.step(job_id(4), Step::Retry);
    let models = place.with(&history).await;
    let all = models.finished(Timestamp::MAX, None, 10).await.unwrap();
    let ended: Vec<_> = all.iter().map(|job| (job.id, job.status)).collect();
    let expected =
        [(job_id(0), Status::Completed), (job_id(1), Status::Cancelled), (job_id(3), Status::Cancelled)];
    assert_eq!(ended, expected);
    assert_eq!(models.finished(Timestamp::MAX, Some(&all[0]), 1).await.unwrap(), all[1..2]);
    assert_eq!(models.finished(all[1].finished_at.unwrap(), None, 10).await.unwrap(), all[..1]);
}

async fn a_projector_goes_on_behind_holes(place: Place) {
    let mut history = history();
    history.archive([job_id(1)]);
    history.archive([job_id(0)]);
    history.step(job_id(5), Step::Submit { run_at: None, labels: true });
    let log = history.log();
    let models = place.open(&log).await;
    let stop = CancellationToken::new();
    let run = tokio::spawn(Projector::run(models.clone(), log.feed(), stop.clone()));
    let head = history.head().position;
    assert!(models.wait_for(head, std::time::Duration::from_secs(60)).await);
    let stats = models.stats().await.unwrap();
    assert_eq!((stats.jobs.submitted, stats.jobs.completed, stats.jobs.queued), (4, 1, 2));
    stop.cancel();
    run.await.unwrap().unwrap();
    // The checkpoint is of this log, also when it is the end of a hole.
    assert_eq!(place.open(&history.log()).await.position(), head);
}

async fn a_hole_that_nobody_tells_of_is_an_alarm(place: Place) {
    let mut history = history();
    history.archive([job_id(1)]);
    let mut log = history.log();
    assert!(log.1.len() > 1);
    let missing = log.1.pop().unwrap();
    let models = place.open(&log).await;
    let error = Projector::run(models, log.feed(), CancellationToken::new()).await.unwrap_err();
    let ProjectorError::Feed(FeedError::Hole { expected, found }) = error else { panic!("{error:?}") };
    assert_eq!((expected, found), (missing.first, Position(missing.last.0 + 1)));
}

/// A projector saw the first events in time, and then many were gone.
fn check(place: impl FnOnce() -> Place, history: &History, in_time: usize) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let place = place();
        let in_time = in_time.min(history.entries.len());
        let gone: BTreeSet<Position> = history.left.iter().map(|entry| entry.recorded.position).collect();
        let (first, rest) = history.entries.split_at(in_time);
        let rest: Vec<_> =
            rest.iter().filter(|entry| !gone.contains(&entry.recorded.position)).cloned().collect();
        let mut tables = place.tables().await;
        tables.project(&[first]).await.unwrap();
        for batch in rest.chunks(5) {
            tables.project(&[batch]).await.unwrap();
        }
        tables.close().await.unwrap();
        let late = place.dump().await;
        place.rebuild(history).await;
        assert_eq!(place.dump().await, late);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn who_is_late_counts_as_who_was_in_time_on_sqlite(history in histories(80), in_time in 0_usize..80) {
        check(Place::sqlite, &history, in_time);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn who_is_late_counts_as_who_was_in_time_on_postgres(history in histories(80), in_time in 0_usize..80) {
        check(Place::postgres, &history, in_time);
    }
}
