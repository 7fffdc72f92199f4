use quillwork_domain::id::Position;
use quillwork_domain::job::{ErrorClass, Event, Status};

use super::history::{History, Step, job_id};
use super::place::{Place, in_every_place};
use crate::job_summary::JobFilter;
use crate::read_models::ReadModels;

in_every_place!(filters, counters_follow_the_clock, one_job_and_its_attempts, filters_combine);

/// Jobs 0 to 4: queued with a label, due, scheduled, running, cancelled.
async fn models(place: &Place) -> ReadModels {
    let mut history = History::default();
    let submit = |run_at, labels| Step::Submit { run_at, labels };
    history.step(job_id(0), submit(None, true));
    history.step(job_id(1), submit(Some(1), false));
    history.step(job_id(2), submit(Some(4_000_000_000_000), false));
    history.step(job_id(3), submit(None, false));
    history.step(job_id(3), Step::Start);
    history.step(job_id(4), submit(None, true));
    history.step(job_id(4), Step::Cancel);
    place.with(&history).await
}

#[track_caller]
fn check(models: &ReadModels, filter: JobFilter, expected: &[u8]) -> impl Future<Output = ()> {
    let models = models.clone();
    let expected: Vec<_> = expected.iter().map(|n| job_id(*n)).collect();
    async move {
        let page = models.jobs(&filter, 10).await.unwrap();
        let found: Vec<_> = page.items.iter().map(|job| job.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(page.next, None);
        // Page by page it is the same.
        let (mut filter, mut found) = (filter, vec![]);
        loop {
            let page = models.jobs(&filter, 1).await.unwrap();
            found.extend(page.items.iter().map(|job| job.id));
            let Some(next) = page.next else { break };
            filter.before = Some(next);
        }
        assert_eq!(found, expected, "{filter:?}");
    }
}

async fn filters(place: Place) {
    let models = models(&place).await;
    let status = |status| JobFilter { status: Some(status), ..JobFilter::default() };
    let label = |label: &str| JobFilter { label: Some(label.into()), ..JobFilter::default() };
    let tenant = |tenant: &str| JobFilter { tenant: Some(tenant.into()), ..JobFilter::default() };
    let search = |text: &str| JobFilter { search: Some(text.into()), ..JobFilter::default() };
    check(&models, JobFilter::default(), &[4, 3, 2, 1, 0]).await;
    check(&models, status(Status::Queued), &[1, 0]).await;
    check(&models, status(Status::Scheduled), &[2]).await;
    check(&models, status(Status::Running), &[3]).await;
    check(&models, status(Status::Failed), &[]).await;
    check(&models, label("team:blue"), &[4, 0]).await;
    check(&models, label("team:%"), &[]).await;
    check(&models, tenant("other"), &[4]).await;
    check(&models, tenant("nobody"), &[]).await;
    check(&models, JobFilter { status: Some(Status::Queued), ..label("team:blue") }, &[0]).await;
    check(&models, search("gRÖSSE"), &[]).await;
    check(&models, search("GRÖßE\" of"), &[4, 3, 2, 1, 0]).await;
    check(&models, search("%"), &[]).await;
    check(
        &models,
        JobFilter { pipeline: Some("echo".into()), before: Some(Position(3)), ..JobFilter::default() },
        &[1, 0],
    )
    .await;
}

async fn counters_follow_the_clock(place: Place) {
    let stats = models(&place).await.stats().await.unwrap();
    assert_eq!((stats.jobs.submitted, stats.jobs.queued, stats.jobs.scheduled), (5, 2, 1));
    assert_eq!((stats.jobs.running, stats.jobs.cancelled), (1, 1));
    assert_eq!(stats.stages["stage-0"].started, 1);
    assert_eq!(stats.position, Position(7));
}

async fn one_job_and_its_attempts(place: Place) {
    let models = models(&place).await;
    let job = models.job(job_id(1)).await.unwrap().unwrap();
    assert_eq!((job.status, job.topic.as_str()), (Status::Queued, "The \"Größe\" of\nthings"));
    assert_eq!(models.job(job_id(9)).await.unwrap(), None);
    let timeline = models.timeline(job_id(3)).await.unwrap();
    assert_eq!((timeline.len(), timeline[0].worker.as_deref()), (1, Some("worker-1")));
    assert_eq!(models.timeline(job_id(9)).await.unwrap(), []);
}

async fn filters_combine(place: Place) {
    let models = models(&place).await;
    let all = models.jobs(&JobFilter::default(), 10).await.unwrap().items;
    let statuses = std::iter::once(None).chain(Status::ALL.map(Some));
    for status in statuses {
        for mask in 0..16 {
            let filter = JobFilter {
                status,
                pipeline: (mask & 1 != 0).then(|| "echo".to_owned()),
                label: (mask & 2 != 0).then(|| "team:blue".to_owned()),
                search: (mask & 4 != 0).then(|| "things".to_owned()),
                tenant: (mask & 8 != 0).then(|| "default".to_owned()),
                before: None,
            };
            let fits = all.iter().filter(|job| status.is_none_or(|status| job.status == status));
            let fits = fits.filter(|job| mask & 2 == 0 || job.labels.contains_key("team"));
            let fits = fits.filter(|job| mask & 8 == 0 || job.tenant == "default");
            let expected: Vec<_> = fits.map(|job| job.id).collect();
            let found: Vec<_> =
                models.jobs(&filter, 10).await.unwrap().items.iter().map(|job| job.id).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}

#[tokio::test]
async fn a_character_that_postgres_cannot_store_stops_nobody() {
    let mut history = History::default();
    history.step(job_id(0), Step::Submit { run_at: None, labels: true });
    history.step(job_id(0), Step::Start);
    history.step(job_id(0), Step::Fail(ErrorClass::Permanent));
    for entry in &mut history.entries {
        if let Event::StageFailed(failed) = &mut entry.event {
            failed.error = "half a\0string".into();
        }
    }
    let place = Place::postgres();
    let timeline = place.with(&history).await.timeline(job_id(0)).await.unwrap();
    assert_eq!(timeline[0].error.as_deref(), Some("half a\u{fffd}string"));
}
