//! Budgets of jobs, and what they cost.

use serde_json::{Value, json};

use super::problems::check;
use super::service::Service;

#[tokio::test]
async fn a_job_shows_its_budget_which_can_be_changed() {
    let service = Service::start().await;
    let path = service.submit(r#"{"topic":"hang","budget":{"max_cost_usd":"0.50"}}"#).await;
    let set = service.post(&format!("{path}/budget"), r#"{"max_cost_usd":1.25}"#).await;
    assert_eq!(set.status, 202, "{}", set.text);
    let shown = service.get(&format!("{path}?min_position={}", set.json()["position"])).await.json();
    assert_eq!(shown["cost"], json!({"spent_usd": "0.00", "budget_usd": "1.25"}));
    assert_eq!(shown["pause"], Value::Null);
    let cost = service.get(&format!("{path}/cost")).await.json();
    assert_eq!(cost, json!({"spent_usd": "0.00", "budget_usd": "1.25", "items": [], "next_cursor": null}));
    for (body, field) in [("{}", "max_cost_usd"), (r#"{"max_cost_usd":"lots"}"#, "max_cost_usd")] {
        let refused = service.post(&format!("{path}/budget"), body).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["field"]), (422, &json!(field)));
    }
}

#[tokio::test]
async fn what_is_not_paused_is_not_resumed() {
    let service = Service::start().await;
    let path = service.submit(r#"{"topic":"hang"}"#).await;
    check(&service.post(&format!("{path}/resume"), "{}").await, 409, "state-forbids");
    let unknown = "/v1/jobs/019ea1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
    for (under, body) in [("resume", "{}"), ("budget", r#"{"max_cost_usd":"1"}"#)] {
        check(&service.post(&format!("{unknown}/{under}"), body).await, 404, "unknown-job");
    }
    check(&service.get(&format!("{unknown}/cost")).await, 404, "unknown-job");
}

#[tokio::test]
async fn a_job_without_money_is_paused_until_it_gets_some() {
    let service = Service::start().await;
    let path = service.submit(r#"{"topic":"spend","budget":{"max_cost_usd":"0.01"}}"#).await;
    let job = service.get_when(&path, |job| job["status"] == "paused").await;
    assert_eq!(job["cost"], json!({"spent_usd": "0.015", "budget_usd": "0.01"}));
    assert_eq!(job["pause"], json!({"reason": "job_budget"}));
    let cost = service.get(&format!("{path}/cost")).await.json();
    let call = &cost["items"][0];
    assert_eq!(
        (&call["stage"], &call["step"], &call["attempt"], &call["cost_usd"], &call["prices"]),
        (&json!("one"), &json!("call"), &json!(1), &json!("0.015"), &json!("p1"))
    );
    let refused = service.post(&format!("{path}/resume"), "{}").await;
    check(&refused, 409, "state-forbids");
    assert!(refused.text.contains("raise the budget"), "{}", refused.text);

    let listed = service.get("/v1/jobs?status=paused").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(service.get("/v1/stats").await.json()["jobs"]["paused"], 1);
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains(r#"quillwork_jobs_paused_total{reason="job_budget"} 1"#), "{metrics}");
    let usage = service.get("/v1/usage?group=model").await.json();
    assert_eq!(
        usage["items"],
        json!([{
            "day": null, "tenant": null, "provider": "main", "model": "writer-1",
            "calls": 1, "input_tokens": 10, "output_tokens": 20, "cost_usd": "0.015",
        }])
    );

    let set = service.post(&format!("{path}/budget"), r#"{"max_cost_usd":"0.02"}"#).await;
    assert_eq!((set.status.as_u16(), &set.json()["status"]), (202, &json!("queued")), "{}", set.text);
    let job = service.get_when(&path, |job| job["status"] == "completed").await;
    assert_eq!(job["pause"], Value::Null);
}

#[tokio::test]
async fn paid_calls_come_in_pages() {
    let service = Service::start().await;
    let path = service.submit(r#"{"topic":"shop"}"#).await;
    service.get_when(&path, |job| job["status"] == "completed").await;
    for limit in 1..=4 {
        let (mut found, mut cursor, mut n_pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = service.get(&format!("{path}/cost?limit={limit}{cursor}")).await.json();
            assert_eq!(page["spent_usd"], "0.045", "that of all calls is on every page");
            let items = page["items"].as_array().unwrap();
            found.extend(items.iter().map(|call| call["step"].as_str().unwrap().to_owned()));
            n_pages += 1;
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!((found.join(" ").as_str(), n_pages), ("call-1 call-2 call-3", 3_usize.div_ceil(limit)));
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=b1", "cursor"),
        ("cursor=a+1", "cursor"),
        ("colour=red", "colour"),
    ] {
        let refused = service.get(&format!("{path}/cost?{query}")).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["field"]), (422, &json!(field)));
    }
}
