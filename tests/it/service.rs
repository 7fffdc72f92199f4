//! The HTTP contract, on the real binary.

use std::collections::BTreeSet;

use quillwork_tests::server::{Server, run, text};
use serde_json::{Value, json};

#[tokio::test]
async fn a_job_is_submitted_followed_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let response =
        server.post("/v1/jobs", json!({"topic": "idempotency keys", "labels": {"team": "docs"}})).await;
    assert_eq!(response.status(), 202);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let accepted: Value = response.json().await.unwrap();
    let id = accepted["id"].as_str().unwrap();
    assert!(location.ends_with(&format!("/v1/jobs/{id}")));
    let position = accepted["position"].as_u64().unwrap();
    let seen = server.get(&format!("/v1/jobs/{id}?min_position={position}")).await;
    assert!(seen["position"].as_u64().unwrap() >= position);

    let job = server.ended(id).await;
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(job["progress"], json!({"done": 4, "total": 4}));
    assert_eq!(job["labels"], json!({"team": "docs"}));
    let result = server.client.get(format!("{}/v1/jobs/{id}/result", server.url));
    let markdown = result.try_clone().unwrap().header("accept", "text/markdown").send().await.unwrap();
    assert!(markdown.text().await.unwrap().contains("## Sources"));
    let html = result.try_clone().unwrap().header("accept", "text/html").send().await.unwrap();
    assert!(html.text().await.unwrap().contains("<h2"));
    let article: Value =
        result.header("accept", "application/json").send().await.unwrap().json().await.unwrap();
    assert_eq!(article["method"], "extractive");

    let kinds = server.kinds(id).await;
    assert_eq!(kinds[..4], ["JobSubmitted", "StageStarted", "StageCompleted", "StageStarted"]);
    assert_eq!(kinds.iter().filter(|kind| *kind == "StageCompleted").count(), 4, "{kinds:?}");
    assert_eq!((kinds.len(), kinds[9].as_str()), (10, "JobCompleted"));
    let submitted = server.get(&format!("/v1/jobs/{id}?at_version=1")).await;
    assert_eq!((submitted["status"].as_str(), submitted["version"].as_u64()), (Some("queued"), Some(1)));
    let found = server.get("/v1/jobs?label=team:docs&status=completed&q=IDEMPOTENCY").await;
    assert_eq!(found["items"][0]["id"], id);
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test]
async fn a_key_makes_one_job_and_a_changed_body_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let send = |body: &'static str| {
        let request = server.client.post(format!("{}/v1/jobs", server.url));
        request.header("idempotency-key", "k-1").header("content-type", "application/json").body(body).send()
    };
    let first = send(r#"{"topic":"a","pipeline":"echo"}"#).await.unwrap();
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let first: Value = first.json().await.unwrap();
    let again = send(r#"{ "pipeline": "echo", "topic": "a" }"#).await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.json::<Value>().await.unwrap()["id"], first["id"]);
    assert_eq!(send(r#"{"topic":"b","pipeline":"echo"}"#).await.unwrap().status(), 422);

    let id = first["id"].as_str().unwrap().to_owned();
    server.kill();
    let server = Server::start(dir.path(), &[]);
    let request = server.client.post(format!("{}/v1/jobs", server.url)).header("idempotency-key", "k-1");
    let after = request.json(&json!({"topic": "a", "pipeline": "echo"})).send().await.unwrap();
    assert_eq!(after.json::<Value>().await.unwrap()["id"], id.as_str());
}

#[tokio::test]
async fn one_bad_item_of_a_batch_fails_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let jobs = json!([
        {"topic": "one", "pipeline": "echo"},
        {"topic": "", "pipeline": "echo"},
        {"topic": "three", "pipeline": "nonsense"},
        {"topic": "four", "pipeline": "echo"},
    ]);
    let response = server.post("/v1/jobs/batch", json!({"jobs": jobs})).await;
    assert_eq!(response.status(), 202);
    let answer: Value = response.json().await.unwrap();
    let made: Vec<bool> =
        answer["jobs"].as_array().unwrap().iter().map(|item| item["id"].is_string()).collect();
    assert_eq!(made, [true, false, false, true]);
    assert!(answer["jobs"][2]["problem"].to_string().contains("echo"), "accepted values are named: {answer}");
    for index in [0, 3] {
        let job = server.ended(answer["jobs"][index]["id"].as_str().unwrap()).await;
        assert_eq!(job["status"], "completed");
    }
}

#[tokio::test]
async fn wrong_requests_get_problems_that_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let huge = format!(r#"{{"topic":"{}"}}"#, "x".repeat(1 << 20));
    let cases = [
        (r#"{"topic": "#, 400, ""),
        ("[]", 422, ""),
        ("", 400, ""),
        (r#"{"pipeline":"echo"}"#, 422, "topic"),
        (r#"{"topic":"a","colour":"green"}"#, 422, "colour"),
        (r#"{"topic":7}"#, 422, "topic"),
        (r#"{"topic":"a","priority":"high"}"#, 422, "priority"),
        (r#"{"topic":"a","run_at":"tomorrow"}"#, 422, "run_at"),
        (r#"{"topic":"a","settings":{"echo":{}}}"#, 422, "settings"),
        (r#"{"topic":"a","pipeline":"echo","settings":{"echo":{"bytes":-1}}}"#, 422, "settings"),
        (&huge, 413, ""),
    ];
    for (body, status, field) in cases {
        let request =
            server.client.post(format!("{}/v1/jobs", server.url)).header("content-type", "application/json");
        let response = request.body(body.to_owned()).send().await.unwrap();
        let shown = &body[..body.len().min(80)];
        let actual = response.status().as_u16();
        assert_eq!(actual, status, "{shown}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{shown}");
        let problem: Value = response.json().await.unwrap();
        assert!(problem.to_string().contains(field), "{shown}: {problem}");
        assert!(problem["type"].is_string() && problem["correlation_id"].is_string(), "{problem}");
    }
    assert_eq!(
        server.client.get(format!("{}/v1/jobs/nonsense", server.url)).send().await.unwrap().status(),
        404
    );
    assert_eq!(server.client.delete(format!("{}/v1/jobs", server.url)).send().await.unwrap().status(), 405);
    assert_eq!(server.get("/v1/stats").await["jobs"]["submitted"], 0);
}

#[tokio::test]
async fn stages_that_misbehave_end_their_jobs_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quillwork.toml");
    let pipelines = "[pipelines.short]\nstages = [{ name = \"echo\", handler = \"echo\", max_attempts = 2, \
                     timeout = \"200ms\", backoff = { initial = \"10ms\", factor = 2, max = \"20ms\" } }]\n";
    std::fs::write(&config, pipelines).unwrap();
    let server = Server::start(dir.path(), &["--config", config.to_str().unwrap()]);
    let submit = |settings: Value| {
        server.submit(json!({"topic": "t", "pipeline": "short", "settings": {"echo": settings}}))
    };
    let hangs = submit(json!({"hang": true})).await;
    let panics = submit(json!({"panic_attempts": 1})).await;
    let fails = submit(json!({"fail_attempts": 9})).await;
    let large = submit(json!({"bytes": 5 << 20})).await;
    let fine = submit(json!({})).await;
    let ended = async |id: String| (server.ended(&id).await, server.kinds(&id).await);
    let (job, kinds) = ended(hangs).await;
    assert_eq!((job["status"].as_str(), job["error"]["class"].as_str()), (Some("failed"), Some("timeout")));
    assert_eq!(
        kinds,
        ["JobSubmitted", "StageStarted", "StageFailed", "StageStarted", "StageFailed", "JobFailed"]
    );
    let (job, kinds) = ended(panics).await;
    assert_eq!(job["status"], "completed");
    assert_eq!(
        kinds,
        ["JobSubmitted", "StageStarted", "StageFailed", "StageStarted", "StageCompleted", "JobCompleted"]
    );
    let (job, _) = ended(fails).await;
    assert_eq!((job["error"]["class"].as_str(), job["attempt"].as_u64()), (Some("transient"), Some(2)));
    let (job, _) = ended(fine).await;
    assert_eq!(job["status"], "completed");
    let (job, _) = ended(large.clone()).await;
    assert_eq!(job["status"], "completed");
    let result = server.get(&format!("/v1/jobs/{large}/result")).await;
    assert!(result.to_string().len() >= 5 << 20);
}

#[tokio::test]
async fn cancel_and_retry() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let id = server.submit_echo(json!({"hang": true})).await;
    let cancelled = server.post(&format!("/v1/jobs/{id}/cancel"), json!({"reason": "superseded"})).await;
    assert_eq!(cancelled.status(), 202);
    assert_eq!(server.ended(&id).await["status"], "cancelled");
    let retried = server.post(&format!("/v1/jobs/{id}/retry"), json!({})).await;
    assert_eq!(retried.status(), 202);
    let again = server.post(&format!("/v1/jobs/{id}/retry"), json!({})).await;
    assert_eq!(again.status(), 409);
    let unknown = uuid::Uuid::now_v7();
    assert_eq!(server.post(&format!("/v1/jobs/{unknown}/cancel"), json!({})).await.status(), 404);
}

#[tokio::test]
async fn the_stream_of_a_job_is_complete_and_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let id = server.submit_echo(json!({"delay_ms": 50})).await;
    let stream = async |last: Option<u64>| {
        let mut request = server.client.get(format!("{}/v1/jobs/{id}/stream", server.url));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let body = request.send().await.unwrap().text().await.unwrap();
        let ids: Vec<u64> =
            body.lines().filter_map(|line| line.strip_prefix("id:")?.trim().parse().ok()).collect();
        ids
    };
    let all = stream(None).await;
    assert_eq!(all.len(), 6, "the stream ends with the job");
    assert_eq!(stream(Some(all[2])).await, all[3..]);
}

#[tokio::test]
async fn every_page_of_the_list_and_of_the_log_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let jobs: Vec<Value> =
        (0..25).map(|n| json!({"topic": format!("job {n}"), "pipeline": "echo"})).collect();
    let answer: Value = server.post("/v1/jobs/batch", json!({"jobs": jobs})).await.json().await.unwrap();
    let ids: BTreeSet<String> =
        answer["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    for id in &ids {
        server.ended(id).await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/jobs?limit=10{cursor}")).await;
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), ids);
    let page = server.get("/v1/events?after=100&limit=1000").await;
    let positions: Vec<u64> =
        page["items"].as_array().unwrap().iter().map(|event| event["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (101..=150).collect::<Vec<u64>>());
    let stats = server.get("/v1/stats").await;
    assert_eq!(
        (stats["jobs"]["submitted"].as_u64(), stats["jobs"]["completed"].as_u64()),
        (Some(25), Some(25))
    );
    let ends = server.get("/v1/events?kinds=JobCompleted,JobFailed&limit=1000").await;
    assert_eq!(ends["items"].as_array().unwrap().len(), 25);
    let wrong = server.client.get(format!("{}/v1/events?kinds=JobPainted", server.url)).send().await.unwrap();
    assert_eq!(wrong.status(), 422);
    assert!(wrong.text().await.unwrap().contains("JobCompleted"), "accepted kinds are named");
}

#[tokio::test]
async fn the_service_describes_itself() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let openapi = server.get("/openapi.json").await;
    for path in
        ["/v1/jobs", "/v1/jobs/batch", "/v1/jobs/{id}", "/v1/jobs/{id}/result", "/v1/events", "/v1/stats"]
    {
        assert!(openapi["paths"][path].is_object(), "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/docs", "/v1/pipelines"] {
        let response = server.client.get(format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    let docs = server.client.get(format!("{}/docs", server.url)).send().await.unwrap().text().await.unwrap();
    assert!(!docs.contains("src=\"http") && !docs.contains("href=\"http"), "the page needs no other server");
}

#[tokio::test]
async fn a_second_process_and_a_taken_port_are_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let same = run(&["up", "--data-dir", dir.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_ne!(same.status.code(), Some(0));
    let said = text(&same.stderr);
    assert!(said.contains("in use") && said.contains(&server.pid().to_string()), "{said}");
    let other = tempfile::tempdir().unwrap();
    let address = server.url.trim_start_matches("http://");
    let taken = run(&["up", "--data-dir", other.path().to_str().unwrap(), "--listen", address]);
    assert_ne!(taken.status.code(), Some(0));
    assert!(text(&taken.stderr).contains(address), "{}", text(&taken.stderr));
}
