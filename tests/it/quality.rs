//! Articles are judged, and the verdict has consequences.

use std::fs;
use std::path::Path;

use quillwork_tests::server::Server;
use serde_json::{Value, json};

fn server(dir: &Path) -> Server {
    let config = dir.join("quillwork.toml");
    let pipelines = "[pipelines.judged]\nstages = [\"research\", \"generation\", \"quality\", \"seo\"]\n\n\
        [pipelines.empty]\nstages = [\"echo\", \"quality\", \"seo\"]\n";
    fs::write(&config, pipelines).unwrap();
    Server::start(dir, &["--config", config.to_str().unwrap()])
}

async fn job(server: &Server, topic: &str, settings: Value) -> (String, Value) {
    let id = server.submit(json!({"topic": topic, "pipeline": "judged", "settings": settings})).await;
    let job = server.ended(&id).await;
    (id, job)
}

#[tokio::test]
async fn digests_of_the_documentation_pass_the_gate_and_stay_the_result() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    for topic in [
        "How do durable jobs survive a crash?",
        "idempotency keys",
        "leases and fencing",
        "rate limits of stages",
        "the hash chain of the log",
        "several processes on PostgreSQL",
    ] {
        let (id, job) = job(&server, topic, json!({"quality": {"gate": "fail", "min_score": 0.85}})).await;
        assert_eq!(job["status"], "completed", "{topic}: {job}");
        let result = server.client.get(format!("{}/v1/jobs/{id}/result", server.url)).send().await.unwrap();
        assert!(result.text().await.unwrap().contains("## Sources"), "{topic}");
        let events = server.get(&format!("/v1/jobs/{id}/events")).await.to_string();
        for report in [r#""kind":"quality""#, r#""kind":"seo""#, r#""name":"grounding""#, r#""json_ld""#] {
            assert!(events.contains(report), "{topic}: {report} is not in the log");
        }
    }
}

#[tokio::test]
async fn an_article_that_does_not_pass_goes_back_or_fails() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let topic = "leases and fencing";
    // No digest is so long.
    let strict =
        |gate: &str| json!({"quality": {"gate": gate, "max_rounds": 2, "min_score": 1, "min_words": 20_000}});

    let (_, reported) = job(&server, topic, strict("report")).await;
    assert_eq!(reported["status"], "completed", "{reported}");

    let (id, failed) = job(&server, topic, strict("fail")).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    let error = failed["error"]["message"].as_str().unwrap();
    assert!(error.contains("draft 1 of the article does not pass") && error.contains("words is"), "{error}");
    assert_eq!(count(&server, &id, "StagesReopened").await, 0);

    let (id, reworked) = job(&server, topic, strict("rework")).await;
    assert_eq!(reworked["status"], "failed", "{reworked}");
    let error = reworked["error"]["message"].as_str().unwrap();
    assert!(error.contains("draft 3 of the article does not pass"), "{error}");
    assert_eq!(count(&server, &id, "StagesReopened").await, 2);

    // A retry grants as many rounds again.
    let retried: Value = server.post(&format!("/v1/jobs/{id}/retry"), json!({})).await.json().await.unwrap();
    server.get(&format!("/v1/jobs/{id}?min_position={}", retried["position"])).await;
    let failed = server.ended(&id).await;
    let error = failed["error"]["message"].as_str().unwrap();
    assert!(error.contains("draft 5 of the article does not pass"), "{error}");
    assert_eq!(count(&server, &id, "StagesReopened").await, 4);
}

#[tokio::test]
async fn where_there_is_no_article_a_report_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let without = |settings: Value| json!({"topic": "tea", "pipeline": "empty", "settings": settings});
    let id = server.submit(without(json!({}))).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    let events = server.get(&format!("/v1/jobs/{id}/events")).await.to_string();
    assert_eq!(events.matches("no stage before this one has produced an article").count(), 2, "{events}");

    let id = server.submit(without(json!({"quality": {"gate": "fail"}}))).await;
    let failed = server.ended(&id).await;
    assert_eq!((&failed["status"], &failed["error"]["stage"]), (&json!("failed"), &json!("quality")));
}

async fn count(server: &Server, id: &str, kind: &str) -> usize {
    server.kinds(id).await.into_iter().filter(|it| it == kind).count()
}
