//! Workers that compete, and one that is silent for so long that it is taken for dead.

use quillwork_domain::time::Timestamp;
use quillwork_test_servers::Postgres;
use quillwork_tests::fleet::{Fleet, Role, open_log, read_log};
use quillwork_tests::invariants;
use serde_json::{Value, json};

use super::api::Api;

const SETTINGS: &str = r#"
lease = "1s"

# Fewer than there are jobs: no worker can take them all at once.
[stages.echo]
concurrency = 8

[pipelines.single]
stages = [{ name = "only", handler = "echo", backoff = { initial = "10ms", factor = 1, max = "10ms" } }]
"#;

fn stage_events(events: &Value) -> Vec<String> {
    let items = events["items"].as_array().unwrap();
    let told = items.iter().map(|event| {
        let data = &event["data"];
        let class = data["class"].as_str().map(|class| format!(" {class}")).unwrap_or_default();
        format!("{} {}{class}", event["kind"].as_str().unwrap(), data["attempt"])
    });
    told.filter(|told| told.starts_with("Stage")).collect()
}

#[tokio::test]
async fn a_worker_that_comes_back_too_late_changes_nothing() {
    let database = Postgres::shared().database();
    let fleet = Fleet::on(database.url(), SETTINGS);
    let (mut api, mut first, mut second) = (
        fleet.member(Role::Api, "api"),
        fleet.member(Role::Worker, "first"),
        fleet.member(Role::Worker, "second"),
    );
    let mut projector = fleet.member(Role::Projector, "projector");
    for member in [&mut api, &mut first, &mut projector] {
        member.start_and_wait().await;
    }
    let client = Api::of(&api).await;
    let job = json!({"topic": "slow", "pipeline": "single", "settings": {"echo": {"delay_ms": 3_000}}});
    let id = client.submit(&job).await;
    client.events_when(&id, |events| stage_events(events) == ["StageStarted 1"]).await;
    first.pause();

    second.start_and_wait().await;
    let expected = ["StageStarted 1", "StageFailed 1 lost", "StageStarted 2", "StageCompleted 2"];
    client.events_when(&id, |events| stage_events(events) == expected).await;
    first.resume();
    // It learns of it as it renews its lease, or as it reports its result, whichever comes first.
    first.said_one_of(&["taken for dead", "the late word of a lost attempt", "not held as expected"]).await;

    // It works again, under a new lease.
    second.terminate().await;
    let id_after = client.submit(&json!({"topic": "quick", "pipeline": "single"})).await;
    client
        .events_when(&id_after, |events| stage_events(events) == ["StageStarted 1", "StageCompleted 1"])
        .await;
    client.events_when(&id, |events| stage_events(events) == expected).await;
    let log = read_log(open_log(database.url()).await.as_ref()).await;
    let findings = invariants::check_log(&log, (Timestamp::default(), Timestamp::MAX));
    assert_eq!(findings, Vec::<String>::new());
}

#[tokio::test]
async fn workers_that_want_the_same_tasks_share_them() {
    let database = Postgres::shared().database();
    let mut fleet = Fleet::on(database.url(), SETTINGS);
    // Long enough that nobody is taken for dead on a slow machine.
    fleet.set("QUILLWORK_LEASE", "60s");
    let mut api = fleet.member(Role::Api, "api");
    let mut workers = [fleet.member(Role::Worker, "one"), fleet.member(Role::Worker, "two")];
    api.start_and_wait().await;
    for worker in &mut workers {
        worker.start_and_wait().await;
    }
    let client = Api::of(&api).await;
    let job = json!({"topic": "wanted", "pipeline": "single", "settings": {"echo": {"delay_ms": 5}}});
    // One at a time, so that both workers are idle and want it, and then more than one of them has slots for.
    for _ in 0..50 {
        let id = client.submit(&job).await;
        client
            .events_when(&id, |events| stage_events(events) == ["StageStarted 1", "StageCompleted 1"])
            .await;
    }
    let ids = client.submit_batch(&vec![job; 500]).await;
    for id in ids {
        client
            .events_when(&id, |events| stage_events(events) == ["StageStarted 1", "StageCompleted 1"])
            .await;
    }
    let log = read_log(open_log(database.url()).await.as_ref()).await;
    let findings = invariants::check_log(&log, (Timestamp::default(), Timestamp::MAX));
    assert_eq!(findings, Vec::<String>::new());
    for worker in &workers {
        let name = format!(":{}\"", worker.pid().unwrap());
        let started = log.iter().filter(|event| event.kind == "StageStarted");
        let n_started = started.filter(|event| String::from_utf8_lossy(&event.data).contains(&name)).count();
        assert!(n_started > 0, "{} started none of them", worker.name);
    }
}
