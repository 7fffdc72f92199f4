//! Tenants and priorities hold over all processes.

use quillwork_app::engine::{Caller, Submission};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::JobId;
use quillwork_domain::job::JobSubmitted;
use quillwork_tests::fleet::{Fleet, Role};
use quillwork_tests::stack::{Ground, Handlers, Stack, caller, job};
use serde_json::value::RawValue;
use uuid::Uuid;

/// Stages that both workers together run at once.
const SLOTS: usize = 8;

/// Jobs of one stage that takes a while.
fn jobs(n: usize, priority: i16) -> Vec<Submission> {
    let settings = RawValue::from_string(r#"{"echo":{"delay_ms":30}}"#.to_owned()).unwrap();
    let submitted = JobSubmitted { priority, settings: Some(settings.into()), ..job(&["echo"]) };
    let job = std::sync::Arc::new(submitted);
    (0..n).map(|_| Submission { id: JobId(Uuid::now_v7()), job: job.clone() }).collect()
}

/// How many stages were started between the submission of a job and its own start.
fn started_before(log: &[Recorded], id: JobId) -> usize {
    let is_of_job = |event: &&Recorded| event.stream == id.into();
    let events: Vec<&Recorded> = log.iter().skip_while(|event| !is_of_job(event)).collect();
    let waited = events.iter().take_while(|event| !(event.kind == "StageStarted" && is_of_job(event)));
    waited.filter(|event| event.kind == "StageStarted").count()
}

#[tokio::test]
async fn a_long_queue_of_one_tenant_does_not_hold_up_another_or_what_is_urgent() {
    let ground = Ground::postgres();
    let Ground::Database(database) = &ground else { unreachable!("it is a database") };
    let fleet = Fleet::on(database.url(), "lease = \"60s\"\nstages.echo = { concurrency = 4 }\n");
    // An engine that runs nothing itself stands for the APIs.
    let stack = Stack::start(&ground, Handlers::default()).await;
    let submit = async |tenant: &str, jobs: Vec<Submission>| {
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let caller = Caller { tenant: tenant.into(), ..caller() };
        for accepted in stack.engine.submit(caller, jobs).await {
            accepted.unwrap();
        }
        ids
    };
    let long = submit("a", jobs(2_000, 0)).await;
    let mut workers = [fleet.member(Role::Worker, "one"), fleet.member(Role::Worker, "two")];
    for worker in &mut workers {
        worker.start_and_wait().await;
    }
    // Both are busy with the long queue.
    stack.ended(long[50]).await;
    let other = submit("b", jobs(1, -5)).await[0];
    stack.ended(other).await;
    let urgent = submit("a", jobs(1, 5)).await[0];
    stack.ended(urgent).await;

    let log = stack.log().await;
    let completed = log.iter().filter(|event| event.kind == "JobCompleted").count();
    assert!(completed < 1_500, "the long queue should still wait, but {completed} jobs are done");
    for (id, who) in [(other, "of the other tenant"), (urgent, "that is urgent")] {
        let n = started_before(&log, id);
        // Each process may have planned a batch that fills its slots when the job came.
        assert!(n <= 2 * SLOTS, "{n} stages were started before the one {who}");
    }
    stack.stop().await;
}
