//! What readers did with articles.

use quillwork_domain::content::Rater;
use quillwork_domain::id::JobId;

use super::history::{History, Step, job_id, rate, view};
use super::log::MemoryLog;
use super::place::{Place, in_every_place};
use crate::content_analytics::{ContentAnalytics, ContentSort};
use crate::read_models::ReadModels;

in_every_place!(
    views_and_ratings_are_counted,
    many_events_of_an_article_are_one_row,
    lists_are_in_order_and_in_pages,
    what_readers_did_stays_when_the_job_leaves,
);

fn ann() -> Option<Rater> {
    Some(Rater::of(job_id(0), "ann"))
}

/// Job `n` completes. How many stages it has depends on its number; what it does not have is not done.
fn complete(history: &mut History, n: u8) {
    history.step(job_id(n), Step::Submit { run_at: None, labels: false });
    // Two stages of one may run at once.
    for _ in 0..3 {
        for step in [Step::Start, Step::Start, Step::Complete, Step::Complete] {
            history.step(job_id(n), step);
        }
    }
}

async fn content(models: &ReadModels, n: u8) -> ContentAnalytics {
    models.content(job_id(n)).await.unwrap().unwrap()
}

async fn views_and_ratings_are_counted(place: Place) {
    let mut history = History::default();
    complete(&mut history, 0);
    history.note(job_id(0), view(3));
    history.note(job_id(0), rate(5, ann()));
    history.note(job_id(0), rate(4, None));
    let n_before = history.entries.len();
    // Another reader, and the first one again, after a restart.
    history.note(job_id(0), rate(3, Some(Rater::of(job_id(0), "bob"))));
    history.note(job_id(0), rate(1, ann()));
    history.note(job_id(0), view(4));
    place.tables().await.project(&[&history.entries[..n_before]]).await.unwrap();
    let models = place.open(&MemoryLog::new(&history.entries)).await;
    let before = content(&models, 0).await;
    assert_eq!((before.views, before.ratings, before.average_rating()), (3, 2, Some(4.5)));
    place.tables().await.project(&[&history.entries[n_before..]]).await.unwrap();
    let after = content(&models, 0).await;
    assert_eq!((after.views, after.ratings, after.stars, after.version.0), (7, 3, 8, 6));
    assert_eq!(after.updated_at, history.entries.last().unwrap().recorded.recorded_at);
    assert_eq!(models.content(job_id(1)).await.unwrap(), None);
}

async fn many_events_of_an_article_are_one_row(place: Place) {
    let mut history = History::default();
    complete(&mut history, 0);
    for n in 0..500 {
        history.note(job_id(0), if n % 5 == 0 { rate(1 + n % 4, ann()) } else { view(2) });
    }
    let mut tables = place.tables().await;
    for entries in history.entries.chunks(60) {
        tables.fold(entries).await.unwrap();
    }
    // The job, and the article.
    assert_eq!(tables.commit().await.unwrap(), 2);
    let models = place.open(&history.log()).await;
    let content = content(&models, 0).await;
    assert_eq!((content.views, content.ratings, content.version.0), (800, 1, 500));
}

/// The articles of all pages of one, by number.
async fn list(models: &ReadModels, sort: ContentSort) -> Vec<u8> {
    let (mut found, mut after) = (Vec::<JobId>::new(), None);
    loop {
        let page = models.contents(sort, after, 1).await.unwrap();
        found.extend(page.items.iter().map(|item| item.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let whole = models.contents(sort, None, 10).await.unwrap();
    assert_eq!(whole.items.iter().map(|item| item.id).collect::<Vec<_>>(), found);
    assert_eq!(whole.next, None);
    found.iter().map(|id| id.0.as_bytes()[15]).collect()
}

async fn lists_are_in_order_and_in_pages(place: Place) {
    let mut history = History::default();
    (0..4).for_each(|n| complete(&mut history, n));
    for (n, views, stars) in [(3, 5, None), (0, 7, Some(2)), (2, 7, Some(4)), (1, 9, None)] {
        history.note(job_id(n), view(views));
        if let Some(stars) = stars {
            history.note(job_id(n), rate(stars, None));
        }
    }
    let models = place.with(&history).await;
    assert_eq!(list(&models, ContentSort::Views).await, [1, 2, 0, 3]);
    assert_eq!(list(&models, ContentSort::Rating).await, [2, 0, 3, 1]);
    assert_eq!(list(&models, ContentSort::Updated).await, [1, 2, 0, 3]);
}

async fn what_readers_did_stays_when_the_job_leaves(place: Place) {
    let mut history = History::default();
    let mut scored = vec![];
    // Which stage is an `seo` stage depends on the time.
    for n in 0..6 {
        complete(&mut history, n);
    }
    history.note(job_id(1), view(2));
    let models = place.with(&history).await;
    for n in 0..6 {
        let row = models.content(job_id(n)).await.unwrap();
        scored.extend(row.filter(|row| row.seo_score.is_some()).map(|_| n));
    }
    assert!(scored.contains(&1) && scored.len() > 1, "{scored:?}");
    let n_before = history.entries.len();
    history.archive((0..6).map(job_id));
    place.tables().await.project(&[&history.entries[n_before..]]).await.unwrap();
    let left = content(&models, 1).await;
    assert_eq!((left.views, left.seo_score), (2, None));
    assert_eq!(list(&models, ContentSort::Updated).await, [1]);
    let before = place.dump().await;
    place.rebuild(&history).await;
    assert_eq!(place.dump().await, before);
}
