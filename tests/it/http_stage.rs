//! Stages that a service of the user does, over HTTP.

mod refusals;
mod worker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use quillwork_tests::outside::{events, start};
use quillwork_tests::server::Server;
use quillwork_tests::stack::PATIENCE;
use quillwork_tests::world::{Asked, Reply, World};
use serde_json::{Value, json};

/// What the services of these tests share with the binary.
const SECRET: &str = "what-only-the-two-of-us-know";

/// A configuration whose pipeline `own` is one stage, done by the service at `url`. `more` are lines of TOML.
fn config(dir: &Path, url: &str, stage: &str, more: &str) -> PathBuf {
    let path = dir.join("quillwork.toml");
    let text = format!(
        "[stages.summarise]\nhttp = {{ url = '{url}', secret = '{SECRET}'{more} }}\n\n\
         [pipelines.own]\nstages = [\n  \
         {{ handler = 'summarise', backoff = {{ initial = '1ms', max = '1ms' }}{stage} }},\n]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

async fn submit(server: &Server, topic: &str) -> String {
    server.submit(json!({"topic": topic, "pipeline": "own"})).await
}

/// The classes of a job's failed attempts.
async fn classes(server: &Server, id: &str) -> Vec<String> {
    let failed = events(server, id, "StageFailed").await;
    failed.iter().map(|failed| failed["class"].as_str().unwrap().to_owned()).collect()
}

async fn job_when(server: &Server, id: &str, status: &str) -> Value {
    let reached = async {
        loop {
            let job = server.get(&format!("/v1/jobs/{id}")).await;
            if job["status"] == status {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    reached.unwrap_or_else(|_| panic!("{id} should be {status}"))
}

#[tokio::test]
async fn a_call_carries_all_that_the_work_needs() {
    let world = World::start().await;
    world.service(|asked| match asked.body["attempt"].as_u64() {
        Some(1) => Reply::Cut,
        Some(_) | None => Reply::Output(json!({"answer": asked.body["settings"]["style"]})),
    });
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &config(dir.path(), &world.url("/run?token=hidden"), "", ""));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let job = json!({"topic": "tea", "pipeline": "own", "settings": {"summarise": {"style": "brief"}}});
    let request = server.client.post(format!("{}/v1/jobs", server.url)).header("traceparent", trace);
    let accepted: Value = request.json(&job).send().await.unwrap().json().await.unwrap();
    let id = accepted["id"].as_str().unwrap();
    assert_eq!(server.ended(id).await["status"], "completed");
    let result = server.get(&format!("/v1/jobs/{id}/result")).await;
    assert_eq!(result, json!({"answer": "brief"}), "the body is the output");
    assert_eq!(classes(&server, id).await, ["transient"]);
    let failed = events(&server, id, "StageFailed").await;
    assert!(!failed[0].to_string().contains("hidden"), "{}", failed[0]);

    let calls = world.service_asked(2).await;
    assert_eq!(calls.len(), 2);
    for (call, attempt) in calls.iter().zip(["1", "2"]) {
        let key = format!("{id}:summarise:1");
        let expected = json!({
            "job": id, "stage": "summarise", "attempt": attempt.parse::<u32>().unwrap(), "round": 1,
            "topic": "tea", "settings": {"style": "brief"}, "outputs": [], "feedback": [], "idempotency_key": key,
        });
        assert_eq!(call.body, expected);
        for (name, value) in [
            ("content-type", "application/json"),
            ("user-agent", concat!("quillwork/", env!("CARGO_PKG_VERSION"))),
            ("x-quillwork-job", id),
            ("x-quillwork-attempt", attempt),
            ("x-quillwork-idempotency-key", &key),
            ("traceparent", trace),
        ] {
            assert_eq!(call.header(name), value, "{name}");
        }
        let deadline = call.header("x-quillwork-deadline");
        assert!(deadline.len() == 24 && deadline.ends_with('Z'), "{deadline}");
        assert!(call.header("x-quillwork-signature").starts_with("t="));
    }
    let wrong = json!({"topic": "tea", "pipeline": "own", "settings": {"summarise": 5}});
    assert_eq!(server.post("/v1/jobs", wrong).await.status(), 422, "settings are an object");
}

#[tokio::test]
async fn a_service_that_hangs_is_left_when_the_time_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("", ", timeout = '2s'", "transient", "did not answer within its timeout of 2000 ms"),
        (", timeout = '2s'", "", "timeout", "stage"),
    ];
    for (stage, more, class, words) in cases {
        let world = World::start().await;
        world.service(|asked: &Asked| match asked.body["attempt"].as_u64() {
            Some(1) => Reply::Silence,
            Some(_) | None => Reply::Output(json!("done")),
        });
        let server = start(dir.path(), &config(dir.path(), &world.url("/run"), stage, more));
        let id = submit(&server, "tea").await;
        world.service_given_up(1).await;
        assert_eq!(server.ended(&id).await["status"], "completed");
        assert_eq!(classes(&server, &id).await, [class]);
        let failed = events(&server, &id, "StageFailed").await;
        assert!(failed[0]["error"].as_str().unwrap().contains(words), "{}", failed[0]);
        assert_eq!(server.terminate(), Some(0));
    }
}

#[tokio::test]
async fn cancelling_a_job_hangs_up() {
    let world = World::start().await;
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &config(dir.path(), &world.url("/run"), "", ""));
    let id = submit(&server, "tea").await;
    world.service_asked(1).await;
    assert_eq!(server.post(&format!("/v1/jobs/{id}/cancel"), json!({})).await.status(), 202);
    world.service_given_up(1).await;
    assert_eq!(server.ended(&id).await["status"], "cancelled");
}

#[tokio::test]
async fn a_call_that_died_with_the_process_is_made_again_with_its_key() {
    let world = World::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &world.url("/run"), "", "");
    let server = start(dir.path(), &config);
    let id = submit(&server, "tea").await;
    world.service_asked(1).await;
    server.kill();
    world.service_given_up(1).await;
    world.service(|_| Reply::Output(json!("done")));
    let server = start(dir.path(), &config);
    assert_eq!(server.ended(&id).await["status"], "completed");
    let calls = world.service_asked(2).await;
    let keys: Vec<&str> = calls.iter().map(|call| call.header("x-quillwork-idempotency-key")).collect();
    assert_eq!(keys, vec![format!("{id}:summarise:1"); 2]);
    let attempts: Vec<&Value> = calls.iter().map(|call| &call.body["attempt"]).collect();
    assert_eq!(attempts, [1, 2]);
}
