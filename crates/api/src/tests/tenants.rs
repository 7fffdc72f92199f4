//! Whose work it is: a label that is kept, shown and searched for.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use super::problems::check;
use super::service::{Answer, Service};

async fn call(service: &Service, method: Method, path: &str, tenant: &str, json: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header("x-tenant", tenant);
    let request = request.header("content-type", "application/json").header("idempotency-key", "k");
    service.send(request.body(Body::from(json.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_job_is_of_the_tenant_that_submitted_it() {
    let service = Service::start().await;
    let topic = "{\"topic\":\"x\"}";
    let acme = call(&service, Method::POST, "/v1/jobs", "acme", topic).await.json();
    let globex = call(&service, Method::POST, "/v1/jobs", "globex", topic).await;
    // Keys of tenants do not meet.
    assert_eq!(globex.header("idempotency-replayed"), "");
    let again = call(&service, Method::POST, "/v1/jobs", "acme", topic).await;
    assert_eq!((again.header("idempotency-replayed"), &again.json()["id"]), ("true", &acme["id"]));
    service.submit(topic).await;

    let event = &service.get("/v1/events?limit=1").await.json()["items"][0];
    assert_eq!((&event["kind"], &event["tenant"]), (&"JobSubmitted".into(), &"acme".into()));
    let stats = service.get("/v1/stats").await.json();
    let found = async |tenant: &str| {
        let path = format!("/v1/jobs?tenant={tenant}&min_position={}", stats["head"]);
        let page = service.get(&path).await.json();
        page["items"].as_array().unwrap().iter().map(|job| job["tenant"].clone()).collect::<Vec<_>>()
    };
    for tenant in ["acme", "globex", "default"] {
        assert_eq!(found(tenant).await, [json!(tenant)]);
    }
    assert_eq!(found("nobody").await, [json!(null); 0]);
    // It is no authorization: another tenant reads the job, and cancels what it likes.
    let path = acme["links"]["self"].as_str().unwrap();
    let job = call(&service, Method::GET, path, "globex", "").await.json();
    assert_eq!((&job["id"], &job["tenant"]), (&acme["id"], &json!("acme")));
}

#[tokio::test]
async fn a_wrong_tenant_is_named_on_every_call() {
    let service = Service::start().await;
    for (method, path) in [
        (Method::POST, "/v1/jobs"),
        (Method::POST, "/v1/jobs/batch"),
        (Method::GET, "/v1/jobs"),
        (Method::GET, "/v1/events"),
        (Method::GET, "/v1/stats"),
        (Method::POST, "/v1/queues/echo/pause"),
    ] {
        for tenant in ["", "a b", "a\tb", "ä", &"x".repeat(65)] {
            let answer = call(&service, method.clone(), path, tenant, "{}").await;
            check(&answer, 422, "validation");
            assert_eq!(answer.json()["errors"][0]["field"], "X-Tenant", "{method} {path} {tenant:?}");
        }
    }
    // What is for operators is for no tenant.
    assert_eq!(call(&service, Method::GET, "/healthz", "a b", "").await.status, 200);
    let filtered = service.get("/v1/jobs?tenant=a%20b").await;
    check(&filtered, 422, "validation");
    assert_eq!(filtered.json()["errors"][0]["field"], "tenant");
}
