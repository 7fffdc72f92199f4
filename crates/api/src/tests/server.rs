//! What clients do all day.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::service::Service;

#[tokio::test]
async fn a_job_from_submission_to_result() {
    let service = Service::start().await;
    let path = service.submit("{\"topic\":\"article\",\"labels\":{\"team\":\"blue\"}}").await;
    // At once, whether the read model has it or not.
    assert_eq!(service.get(&path).await.status, 200);
    let job = service.get(&format!("{path}?wait=10s")).await;
    assert_eq!(job.json()["status"], "completed");
    assert_eq!(job.json()["links"]["self"], path);
    assert_eq!(job.json()["progress"], serde_json::json!({"done": 2, "total": 2}));
    assert_eq!(job.header("etag"), "\"6-completed\"");
    let known = Request::get(&path).header("if-none-match", job.header("etag")).body(Body::empty()).unwrap();
    assert_eq!(service.send(known).await.status, 304);

    let result = async |accept| {
        let request = Request::get(format!("{path}/result")).header("accept", accept);
        service.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(result("*/*").await.text, "# T\n\n## Sources\n");
    assert!(result("text/html").await.text.contains("<title>T &lt;b&gt;</title>"));
    assert_eq!(result("application/json").await.json()["title"], "T <b>");
    assert_eq!(result("image/png").await.status, 406);

    let events = service.get(&format!("{path}/events")).await.json();
    let kinds: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["JobSubmitted", "StageStarted", "StageCompleted", "StageStarted", "StageCompleted", "JobCompleted"]
    );
    assert_eq!(events["next_cursor"], serde_json::Value::Null);
    let then = service.get(&format!("{path}?at_version=2")).await.json();
    assert_eq!((&then["status"], &then["version"]), (&"running".into(), &2.into()));
    assert_eq!(service.get(&format!("{path}?at_version=7")).await.status, 404);
    assert_eq!(service.get(&format!("{path}?as_of=2020-01-01T00:00:00Z")).await.status, 404);
    assert_eq!(service.get(&format!("{path}?as_of=2999-01-01T00:00:00Z")).await.json()["version"], 6);
    assert_eq!(service.get(&format!("{path}/timeline")).await.json()["items"].as_array().unwrap().len(), 2);
    let found = service.get("/v1/jobs?label=team:blue&q=ARTI&status=completed").await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    let page = service.get("/v1/events?after=2&limit=2").await.json();
    assert_eq!((&page["items"][0]["position"], &page["next_cursor"]), (&3.into(), &"4".into()));
}

#[tokio::test]
async fn large_outputs_come_back() {
    let service = Service::start().await;
    let path = service.submit("{\"topic\":\"large\"}").await;
    service.get(&format!("{path}?wait=10s")).await;
    let result = service.get(&format!("{path}/result")).await;
    assert_eq!((result.header("content-type"), result.text.len()), ("application/json", 40_002));
}

#[tokio::test]
async fn a_key_makes_one_job() {
    let service = Service::start().await;
    let submit = async |json: &'static str| {
        let request = Request::post("/v1/jobs")
            .header("content-type", "application/json")
            .header("idempotency-key", "k");
        service.send(request.body(Body::from(json)).unwrap()).await
    };
    let first = submit("{\"topic\":\"x\",\"priority\":1}").await;
    let again = submit("{ \"priority\": 1, \"topic\": \"x\" }").await;
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(submit("{\"topic\":\"y\"}").await.status, 422);
}

#[tokio::test]
async fn a_batch_takes_what_is_right() {
    let service = Service::start().await;
    let answer = service
        .post("/v1/jobs/batch", "{\"jobs\":[{\"topic\":\"a\"},{\"topic\":\"\"},{\"topic\":\"b\"},7]}")
        .await;
    assert_eq!(answer.status, 202);
    let json = answer.json();
    let jobs = json["jobs"].as_array().unwrap();
    assert!(jobs[0]["id"].is_string() && jobs[2]["id"].is_string());
    assert_eq!(jobs[1]["problem"]["errors"][0]["field"], "topic");
    assert_eq!(jobs[3]["problem"]["status"], 422);
    let position = &json["position"];
    let stats = service.get(&format!("/v1/stats?min_position={position}")).await.json();
    assert_eq!(stats["jobs"]["submitted"], 2);
}

#[tokio::test]
async fn a_stream_ends_with_its_job_and_resumes() {
    let service = Service::start().await;
    let path = service.submit("{\"topic\":\"x\"}").await;
    let all = service.get(&format!("{path}/stream")).await;
    assert_eq!(all.header("content-type"), "text/event-stream");
    let ids: Vec<_> = all.text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6"]);
    let resume = async |id: &'static str| {
        let request = Request::get(format!("{path}/stream")).header("last-event-id", id);
        service.send(request.body(Body::empty()).unwrap()).await
    };
    let rest = resume("4").await;
    let ids: Vec<_> = rest.text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["5", "6"]);
    assert_eq!(resume("6").await.status, 204);
}

#[tokio::test]
async fn headers_come_at_once() {
    let service = Service::start().await;
    let path = service.submit("{\"topic\":\"hang\"}").await;
    let request = Request::get(format!("{path}/stream?last_event_id=2")).body(Body::empty()).unwrap();
    let mut body = service.router.clone().oneshot(request).await.unwrap().into_body();
    let first = tokio::time::timeout(Duration::from_secs(5), body.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.data_ref().unwrap(), "retry: 1000\n\n");
    service.post(&format!("{path}/cancel"), "").await;
    let mut rest = String::new();
    while let Some(frame) = body.frame().await {
        rest.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    assert!(rest.starts_with("id: 3\nevent: JobCancelled\n"), "{rest}");
}

#[tokio::test]
async fn the_log_is_followed_until_shutdown() {
    let service = Service::start().await;
    let request =
        Request::get("/v1/events").header("accept", "text/event-stream").body(Body::empty()).unwrap();
    let response = service.router.clone().oneshot(request).await.unwrap();
    let mut body = response.into_body();
    service.submit("{\"topic\":\"x\"}").await;
    let mut seen = String::new();
    while !seen.contains("event: JobCompleted") {
        let frame = body.frame().await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    service.state.ops.shutdown.cancel();
    assert!(tokio::time::timeout(Duration::from_secs(5), body.frame()).await.unwrap().is_none());
}

/// More events than are kept in memory, and than are looked through at once.
#[tokio::test]
async fn some_kinds_are_followed_from_the_beginning() {
    const N_JOBS: usize = 900;
    let service = Service::start().await;
    let jobs = vec!["{\"topic\":\"x\"}"; N_JOBS].join(",");
    assert_eq!(service.post("/v1/jobs/batch", &format!("{{\"jobs\":[{jobs}]}}")).await.status, 202);
    let follow = async || {
        let request =
            Request::get("/v1/events?kinds=JobCompleted,JobFailed").header("accept", "text/event-stream");
        let response = service.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let mut body = response.into_body();
        let mut seen = String::new();
        while seen.matches("\nid: ").count() < N_JOBS {
            let frame = tokio::time::timeout(Duration::from_secs(60), body.frame()).await.unwrap();
            seen.push_str(std::str::from_utf8(frame.unwrap().unwrap().data_ref().unwrap()).unwrap());
        }
        seen
    };
    // As the events come, and when all are there.
    for seen in [follow().await, follow().await] {
        let ids =
            seen.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse::<u64>().unwrap());
        let ids: Vec<u64> = ids.collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!((ids.len(), seen.matches("event: JobCompleted").count()), (N_JOBS, N_JOBS));
    }
}

#[tokio::test]
async fn the_request_is_on_the_record() {
    let service = Service::start().await;
    let id = "0190aaaa-0000-7000-8000-000000000001";
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request =
        Request::post("/v1/jobs").header("content-type", "application/json").header("x-request-id", id);
    let request = request.header("x-actor", "ci").header("traceparent", trace);
    let answer = service.send(request.body(Body::from("{\"topic\":\"x\"}")).unwrap()).await;
    assert_eq!(answer.header("x-request-id"), id);
    let page = service.get("/v1/events?limit=1").await.json();
    let event = &page["items"][0];
    assert_eq!(
        (&event["actor"], &event["correlation_id"], &event["traceparent"]),
        (&"ci".into(), &id.into(), &trace.into())
    );
    let metrics = service.get("/metrics").await.text;
    assert!(
        metrics
            .contains("quillwork_http_requests_total{method=\"POST\",route=\"/v1/jobs\",status=\"202\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("quillwork_jobs_submitted_total") && metrics.ends_with("# EOF\n"));
    // How far the job has come by now is not known, but it is submitted.
    let n_commits = metrics.lines().find_map(|line| line.strip_prefix("quillwork_log_commits_total "));
    assert!(n_commits.is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n > 0)), "{metrics}");
}

#[tokio::test]
async fn a_process_without_the_api_tells_its_health() {
    let service = Service::start().await;
    let ops = crate::Ops { models: None, ..service.state.ops.clone() };
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = crate::ops_router(ops.clone()).oneshot(request).await.unwrap();
        let (status, body) = (response.status(), response.into_body().collect().await.unwrap().to_bytes());
        (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(get("/healthz").await.0, 200);
    let (status, ready) = get("/readyz").await;
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    assert_eq!((status, &ready["ready"], &ready["lag"]), (200, &true.into(), &serde_json::Value::Null));
    let (_, metrics) = get("/metrics").await;
    assert!(metrics.contains("quillwork_engine_alive 1\n"), "{metrics}");
    assert!(!metrics.contains("quillwork_projector"), "{metrics}");
    assert_eq!(get("/v1/jobs").await.0, 404);
    ops.draining.cancel();
    assert_eq!(get("/readyz").await.0, 503);
}
