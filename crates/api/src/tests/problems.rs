//! Whatever is sent, a problem comes back, and it names what is wrong.

use axum::body::Body;
use axum::http::{Method, Request};
use proptest::prelude::*;

use super::service::{Answer, Service};

#[track_caller]
pub(super) fn check(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["type"], format!("urn:quillwork:problem:{kind}"));
    assert_eq!(problem["status"], status);
    assert_eq!(problem["correlation_id"], answer.header("x-request-id"));
    assert!(problem["detail"].is_string() && problem["instance"].is_string());
}

#[tokio::test]
async fn every_mistake_has_its_problem() {
    let service = Service::start().await;
    check(&service.post("/v1/jobs", "{").await, 400, "malformed-json");
    check(&service.post("/v1/jobs", "{\"topic\":1}").await, 422, "validation");
    check(
        &service.post("/v1/jobs", &format!("{{\"topic\":\"{}\"}}", "x".repeat(5_000))).await,
        413,
        "body-too-large",
    );
    check(&service.post("/v1/jobs/batch", "{\"jobs\":[]}").await, 422, "validation");
    check(&service.get("/v1/jobs/00000000-0000-0000-0000-000000000000").await, 404, "unknown-job");
    for path in [
        "nonsense",
        "%FF",
        "00000000-0000-0000-0000-000000000000/result",
        "00000000-0000-0000-0000-000000000000/events",
        "x/events",
        "x/stream",
        "x/timeline",
    ] {
        check(&service.get(&format!("/v1/jobs/{path}")).await, 404, "unknown-job");
    }
    check(
        &service.post("/v1/jobs/00000000-0000-0000-0000-000000000000/cancel", "").await,
        404,
        "unknown-job",
    );
    check(&service.get("/v1/nothing").await, 404, "unknown-route");
    for query in
        ["limit=0", "limit=501", "colour=red", "status=done", "label=x", "cursor=x", "min_position=999"]
    {
        check(&service.get(&format!("/v1/jobs?{query}")).await, 422, "validation");
    }
    let request = Request::delete("/v1/jobs").body(Body::empty()).unwrap();
    let answer = service.send(request).await;
    check(&answer, 405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "POST,GET,HEAD");
    let request =
        Request::post("/v1/jobs").header("content-type", "text/plain").body(Body::from("{}")).unwrap();
    check(&service.send(request).await, 415, "unsupported-media-type");
    let request =
        Request::post("/v1/jobs").header("content-type", "application/json").header("idempotency-key", "a b");
    check(&service.send(request.body(Body::from("{\"topic\":\"x\"}")).unwrap()).await, 422, "validation");
    assert_eq!(service.get("/v1/stats").await.json()["jobs"]["submitted"], 0);
}

#[tokio::test]
async fn states_forbid() {
    let service = Service::start().await;
    let failed = service.submit("{\"topic\":\"fail\"}").await;
    service.get(&format!("{failed}?wait=10s")).await;
    let answer = service.get(&format!("{failed}/result")).await;
    check(&answer, 409, "no-result");
    assert_eq!(answer.json()["error"]["message"], "told to");
    check(&service.post(&format!("{failed}/cancel"), "").await, 409, "state-forbids");
    let hanging = service.submit("{\"topic\":\"hang\"}").await;
    let answer = service.get(&format!("{hanging}/result")).await;
    check(&answer, 409, "not-finished");
    assert_eq!(answer.header("retry-after"), "1");
    check(&service.post(&format!("{hanging}/retry"), "").await, 409, "state-forbids");
    assert_eq!(service.post(&format!("{hanging}/retry"), "{\"x\":1}").await.status, 422);
    assert_eq!(service.post(&format!("{hanging}/cancel"), "{\"reason\":\"enough\"}").await.status, 202);
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing() {
    let service = Service::start().await;
    service.log.set_full(true);
    let answer = service.post("/v1/jobs", "{\"topic\":\"x\"}").await;
    check(&answer, 503, "unavailable");
    assert_ne!(answer.header("retry-after"), "");
    check(&service.post("/v1/jobs/batch", "{\"jobs\":[{\"topic\":\"x\"}]}").await, 503, "unavailable");
    service.log.set_full(false);
    // Once there is room, the service goes on by itself.
    while service.post("/v1/jobs", "{\"topic\":\"y\"}").await.status != 202 {
        tokio::task::yield_now().await;
    }
    let jobs = service.get("/v1/jobs?min_position=1").await.json();
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
    assert_eq!(jobs["items"][0]["topic"], "y");
}

#[tokio::test]
async fn a_stopped_engine_is_unavailable() {
    let service = Service::start().await;
    service.state.ops.engine.stop();
    while service.state.ops.engine.is_alive() {
        tokio::task::yield_now().await;
    }
    let answer = service.post("/v1/jobs", "{\"topic\":\"x\"}").await;
    check(&answer, 503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    let answer = service.post("/v1/jobs/batch", "{\"jobs\":[{\"topic\":\"x\"},{\"topic\":\"y\"}]}").await;
    check(&answer, 503, "unavailable");
    let ready = service.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["ready"]), (503, &serde_json::json!(false)));
    assert_eq!(service.get("/healthz").await.status, 200);
}

#[test]
fn any_request_gets_an_answer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let service = runtime.block_on(Service::start());
    let paths = [
        "/v1/jobs",
        "/v1/jobs/batch",
        "/v1/jobs/x/cancel",
        "/v1/events",
        "/v1/stats",
        "/v1/queues/echo/limit",
    ];
    let mut runner = proptest::test_runner::TestRunner::default();
    let requests = (
        prop::sample::select(paths.to_vec()),
        prop::sample::select(vec![Method::GET, Method::POST, Method::PUT]),
        "[a-z_=&%0-9+]{0,20}",
        prop::collection::vec(any::<u8>(), 0..64),
        "[ -~]{0,30}",
    );
    runner
        .run(&requests, |(path, method, query, body, header)| {
            let request = Request::builder().method(method).uri(format!("{path}?{query}"));
            let request =
                request.header("content-type", "application/json").header("accept", "application/json");
            let request = request.header("x-request-id", &header).header("idempotency-key", &header);
            let request = request
                .header("traceparent", &header)
                .header("x-tenant", &header)
                .header("if-none-match", &header);
            let answer = runtime.block_on(service.send(request.body(Body::from(body)).unwrap()));
            prop_assert!(answer.status.as_u16() < 500, "{}", answer.text);
            if answer.status.is_client_error() {
                prop_assert_eq!(answer.header("content-type"), "application/problem+json");
            }
            Ok(())
        })
        .unwrap();
}
