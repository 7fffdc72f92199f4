//! What operators do to queues.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::problems::check;
use super::service::Service;

/// The queue of `echo`, once the read model shows `position`.
async fn echo(service: &Service, position: &Value) -> Value {
    let answer = service.get(&format!("/v1/queues/echo?min_position={position}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn nobody_touched_the_queues() {
    let service = Service::start().await;
    let untouched = json!({
        "handler": "echo", "paused": false, "reason": null, "max_running": null, "changed_at": null, "changed_by": null
    });
    assert_eq!(service.get("/v1/queues").await.json(), json!({"items": [untouched], "next_cursor": null}));
    assert_eq!(service.get("/v1/queues/echo").await.json(), untouched);
}

#[tokio::test]
async fn a_paused_queue_starts_nothing_until_it_is_resumed() {
    let service = Service::start().await;
    let request = Request::post("/v1/queues/echo/pause").header("content-type", "application/json");
    let request = request.header("x-actor", "ops").body(Body::from("{\"reason\":\"the bill\"}")).unwrap();
    let paused = service.send(request).await;
    assert_eq!(paused.status, 200, "{}", paused.text);
    assert_eq!(paused.json(), json!({"handler": "echo", "paused": true, "max_running": null, "position": 1}));
    let queue = echo(&service, &paused.json()["position"]).await;
    assert_eq!(
        (&queue["paused"], &queue["reason"], &queue["changed_by"]),
        (&json!(true), &json!("the bill"), &json!("ops"))
    );
    assert!(queue["changed_at"].is_string());
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains("quillwork_queue_paused{handler=\"echo\"} 1\n"), "{metrics}");
    assert!(!metrics.contains("quillwork_queue_max_running{"), "{metrics}");

    let path = service.submit("{\"topic\":\"x\"}").await;
    // The command after it is committed after it, so the job was passed over.
    let limited = service.put("/v1/queues/echo/limit", "{\"max_running\":3}").await.json();
    let job = service.get(&format!("{path}?min_position={}", limited["position"])).await.json();
    assert_eq!(job["status"], "queued");
    let resumed = service.post("/v1/queues/echo/resume", "").await.json();
    assert_eq!((&resumed["paused"], &resumed["max_running"]), (&json!(false), &json!(3)));
    assert_eq!(service.get(&format!("{path}?wait=10s")).await.json()["status"], "completed");
    let queue = echo(&service, &resumed["position"]).await;
    assert_eq!((&queue["reason"], &queue["max_running"]), (&json!(null), &json!(3)));
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains("quillwork_queue_paused{handler=\"echo\"} 0\n"), "{metrics}");
    assert!(metrics.contains("quillwork_queue_max_running{handler=\"echo\"} 3\n"), "{metrics}");
}

#[tokio::test]
async fn a_repeated_command_says_the_same_and_is_no_event() {
    let service = Service::start().await;
    for _ in 0..2 {
        let paused = service.post("/v1/queues/echo/pause", "{\"reason\":\"r\"}").await;
        assert_eq!((paused.status.as_u16(), &paused.json()["position"]), (200, &json!(1)));
    }
    for _ in 0..2 {
        let limited = service.put("/v1/queues/echo/limit", "{\"max_running\":2}").await.json();
        assert_eq!(limited, json!({"handler": "echo", "paused": true, "max_running": 2, "position": 2}));
    }
    for _ in 0..2 {
        let lifted = service.put("/v1/queues/echo/limit", "{\"max_running\":null}").await.json();
        assert_eq!(lifted, json!({"handler": "echo", "paused": true, "max_running": null, "position": 3}));
    }
    for _ in 0..2 {
        let resumed = service.post("/v1/queues/echo/resume", "{}").await.json();
        assert_eq!((&resumed["paused"], &resumed["position"]), (&json!(false), &json!(4)));
    }
    let page = service.get("/v1/events").await.json();
    let events: Vec<_> = page["items"].as_array().unwrap().iter().collect();
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["QueuePaused", "QueueLimited", "QueueLimited", "QueueResumed"]);
    for (event, version) in events.iter().zip(1..) {
        assert_eq!((&event["stream"], &event["version"]), (&json!("queues"), &json!(version)));
    }
    assert_eq!(events[0]["data"], json!({"handler": "echo", "reason": "r"}));
    let chosen = service.get("/v1/events?kinds=QueueResumed").await.json();
    assert_eq!(chosen["items"][0]["position"], 4);
    // The stream of the queues is no job's.
    check(&service.get("/v1/jobs/00000000-0000-0000-0000-000000000000/events").await, 404, "unknown-job");
}

#[tokio::test]
async fn mistakes_are_named() {
    let service = Service::start().await;
    for path in ["nonsense", "echo%20", "%FF"] {
        for answer in [
            service.get(&format!("/v1/queues/{path}")).await,
            service.post(&format!("/v1/queues/{path}/pause"), "").await,
            service.post(&format!("/v1/queues/{path}/resume"), "").await,
            service.put(&format!("/v1/queues/{path}/limit"), "{\"max_running\":1}").await,
        ] {
            check(&answer, 404, "unknown-queue");
        }
    }
    let unknown = service.post("/v1/queues/nonsense/pause", "").await.json();
    assert_eq!(unknown["detail"], "no pipeline has the handler \"nonsense\"; the handlers are: echo");

    let too_long = json!({"reason": "ä".repeat(501)}).to_string();
    for (command, body, field) in [
        ("pause", "{\"why\":\"x\"}", "why"),
        ("pause", "{\"reason\":1}", "reason"),
        ("pause", "{\"reason\":\"\"}", "reason"),
        ("pause", "{\"reason\":\"a\\nb\"}", "reason"),
        ("pause", &too_long, "reason"),
        ("resume", "{\"reason\":\"x\"}", "reason"),
        ("limit", "{}", "max_running"),
        ("limit", "{\"max_running\":0}", "max_running"),
        ("limit", "{\"max_running\":-1}", "max_running"),
        ("limit", "{\"max_running\":1.5}", "max_running"),
        ("limit", "{\"max_running\":\"2\"}", "max_running"),
        ("limit", "{\"max_running\":1000001}", "max_running"),
        ("limit", "{\"max_running\":1,\"reason\":\"x\"}", "reason"),
    ] {
        let path = format!("/v1/queues/echo/{command}");
        let answer =
            if command == "limit" { service.put(&path, body).await } else { service.post(&path, body).await };
        check(&answer, 422, "validation");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{command} {body}");
    }
    check(&service.put("/v1/queues/echo/limit", "").await, 400, "malformed-json");
    for query in ["min_position=9", "colour=red"] {
        check(&service.get(&format!("/v1/queues?{query}")).await, 422, "validation");
        check(&service.get(&format!("/v1/queues/echo?{query}")).await, 422, "validation");
    }
    check(&service.post("/v1/queues/echo/limit", "{}").await, 405, "method-not-allowed");
    // None of it happened.
    assert_eq!(service.get("/v1/stats").await.json()["head"], 0);
    let most = json!({"reason": "ä".repeat(500)}).to_string();
    assert_eq!(service.post("/v1/queues/echo/pause", &most).await.status, 200);
}

#[tokio::test]
async fn the_queues_of_a_full_disk_stay_as_they_are() {
    let service = Service::start().await;
    service.log.set_full(true);
    let answer = service.post("/v1/queues/echo/pause", "").await;
    check(&answer, 503, "unavailable");
    assert_ne!(answer.header("retry-after"), "");
    assert_eq!(service.get("/v1/queues/echo").await.json()["paused"], false);
}
