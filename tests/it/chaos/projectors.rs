//! Projectors stand by for each other.

use std::time::Duration;

use quillwork_test_servers::Postgres;
use quillwork_tests::fleet::{Fleet, Member, Role};
use serde_json::{Value, json};

use super::api::Api;

/// Within which a standby must have taken over. What it waits for is a lease of three seconds.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// Submits a job and waits until the read model shows it.
async fn shows_a_job(client: &Api) {
    let accepted = client.post("/v1/jobs", &json!({"topic": "shown", "pipeline": "echo"})).await;
    let position = accepted["position"].as_u64().unwrap();
    let shown = async {
        loop {
            let stats: Value = client.get("/v1/stats").await;
            if stats["position"].as_u64().unwrap() >= position {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(TAKE_OVER, shown).await.is_ok(), "nobody projects position {position}");
}

/// A fleet of one API and two projectors, after the first one has projected something.
async fn fleet(store: &str) -> (Fleet, Member, Member, Member) {
    let fleet = Fleet::on(store, "drain_delay = \"1ms\"\n");
    let mut api = fleet.member(Role::Api, "api");
    let mut active = fleet.member(Role::Projector, "active");
    let mut standby = fleet.member(Role::Projector, "standby");
    api.start_and_wait().await;
    active.start_and_wait().await;
    shows_a_job(&Api::of(&api).await).await;
    standby.start_and_wait().await;
    (fleet, api, active, standby)
}

#[tokio::test]
async fn a_standby_takes_over_from_a_killed_projector() {
    let database = Postgres::shared().database();
    let (_fleet, api, mut active, _standby) = fleet(database.url()).await;
    active.kill();
    shows_a_job(&Api::of(&api).await).await;
}

#[tokio::test]
async fn a_standby_takes_over_from_a_paused_projector_which_then_stands_by() {
    let database = Postgres::shared().database();
    let (_fleet, api, active, mut standby) = fleet(database.url()).await;
    let client = Api::of(&api).await;
    active.pause();
    shows_a_job(&client).await;
    active.resume();
    shows_a_job(&client).await;
    standby.kill();
    shows_a_job(&client).await;
}
