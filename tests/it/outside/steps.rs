//! Finished calls are never made again, whatever happens to the process that made them.

use std::collections::BTreeMap;

use quillwork_tests::outside::{config, events, start, steps};
use quillwork_tests::world::{Answer, World};
use serde_json::json;
use tempfile::tempdir;
use tokio::sync::watch;

use super::world;

/// The path that a step asks for.
fn asked(step: &str, world: &World) -> String {
    match step.split_once(':') {
        Some(("search", _)) => "GET /search".to_owned(),
        Some(("fetch", url)) => format!("GET {}", url.strip_prefix(&world.url("")).unwrap()),
        Some(("write" | "repair", _)) => "POST /v1/chat/completions".to_owned(),
        other => panic!("unexpected step {other:?}"),
    }
}

#[tokio::test]
async fn a_worker_killed_after_every_step_in_turn_repeats_none_of_them() {
    let dir = tempdir().unwrap();
    let mut n = 0;
    loop {
        n += 1;
        let world = world().await;
        let place = dir.path().join(n.to_string());
        std::fs::create_dir(&place).unwrap();
        // One page at a time, so that there is a step between any two.
        let config = config(&place, &world, "[stages.generation]\nconcurrency = 1");
        let server = start(&place, &config);
        let id = server
            .submit(json!({"topic": "leap seconds", "settings": {"research": {"cache": "bypass"}}}))
            .await;
        let recorded = loop {
            let recorded = steps(&server, &id).await;
            let job = server.get(&format!("/v1/jobs/{id}")).await;
            if recorded.len() >= n || job["status"] == "completed" {
                break recorded;
            }
        };
        server.kill();
        let before: BTreeMap<String, u32> = world.counts();
        let server = start(&place, &config);
        let job = server.ended(&id).await;
        assert_eq!(job["status"], "completed", "{job}");
        let after = world.counts();
        for step in &recorded {
            let path = asked(step, &world);
            assert_eq!(after.get(&path), before.get(&path), "{path} was asked again after {recorded:?}");
        }
        let all = steps(&server, &id).await;
        let mut distinct = all.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        if n > all.len() {
            break;
        }
    }
    assert!(n > 4, "a search, three pages and an answer");
}

#[tokio::test]
async fn a_call_that_a_kill_cut_off_is_made_again_and_counts_once() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    let (_never, held) = watch::channel(false);
    world.model(
        move |n, _| if n == 1 { Answer::Held("# Cut off".into(), held.clone()) } else { Answer::Faithful },
    );
    let config = config(dir.path(), &world, "");
    let server = start(dir.path(), &config);
    let id = server.submit(json!({"topic": "leap seconds"})).await;
    world.asked("POST /v1/chat/completions", 1).await;
    server.kill();
    let server = start(dir.path(), &config);
    assert_eq!(server.ended(&id).await["status"], "completed");
    assert_eq!(world.model_calls(), 2);
    let recorded = events(&server, &id, "StepRecorded").await;
    assert_eq!(recorded.iter().filter(|step| step["spent"].is_object()).count(), 1);
}
