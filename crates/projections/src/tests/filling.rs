//! Tables that are filled before anybody reads them are as if they had been kept up to date.

use quillwork_domain::job::ErrorClass;

use super::history::{History, Step, job_id};
use super::place::{Place, in_every_place};

in_every_place!(
    what_is_folded_is_written_by_the_commit,
    filled_with_room_for_all_open_jobs,
    filled_with_room_for_one_open_job,
);

/// Jobs that wait for each other, end, go on after their end, and stay open.
fn history() -> History {
    let mut history = History::default();
    for n in 0..4 {
        history.step(job_id(n), Step::Submit { run_at: None, labels: true });
    }
    for n in 0..4 {
        history.step(job_id(n), Step::Start);
    }
    history.step(job_id(0), Step::Fail(ErrorClass::Permanent));
    history.step(job_id(1), Step::Complete);
    history.step(job_id(2), Step::Fail(ErrorClass::Transient));
    history.step(job_id(0), Step::Retry);
    history.step(job_id(3), Step::Cancel);
    history
}

async fn what_is_folded_is_written_by_the_commit(place: Place) {
    let history = history();
    let mut tables = place.tables().await;
    let empty = place.dump().await;
    tables.fold(&history.entries[..6]).await.unwrap();
    assert!(tables.has_news());
    assert_eq!((tables.position().0, tables.folded().0), (0, 6));
    assert_eq!(place.dump().await, empty);
    tables.fold(&history.entries[6..]).await.unwrap();
    assert_eq!(tables.commit().await.unwrap(), 4);
    assert_eq!((tables.position(), tables.has_news()), (history.head().position, false));
    let in_one = place.dump().await;
    tables.close().await.unwrap();
    place.rebuild(&history).await;
    assert_eq!(place.dump().await, in_one);
}

/// Event by event, so that what is put off is asked for again and again.
async fn fill(place: Place, n_rows: usize) {
    let history = history();
    let expected = {
        let live = if matches!(place, Place::Sqlite(_)) { Place::sqlite() } else { Place::postgres() };
        live.tables().await.project(&[&history.entries]).await.unwrap();
        live.dump().await
    };
    let mut tables = place.filling(n_rows).await;
    for entry in &history.entries {
        tables.project(&[std::slice::from_ref(entry)]).await.unwrap();
    }
    tables.settle().await.unwrap();
    assert_eq!(place.dump().await, expected);
}

async fn filled_with_room_for_all_open_jobs(place: Place) {
    fill(place, 100).await;
}

async fn filled_with_room_for_one_open_job(place: Place) {
    fill(place, 1).await;
}
