//! A client of one API process, for tests in which nothing may fail.

use std::time::Duration;

use quillwork_tests::fleet::Member;
use quillwork_tests::stack::PATIENCE;
use serde_json::{Value, json};

pub(super) struct Api {
    pub(super) base: String,
    http: reqwest::Client,
}

impl Api {
    pub(super) async fn of(member: &Member) -> Self {
        Self { base: member.base().await, http: reqwest::Client::new() }
    }

    /// The answer to a request that must succeed.
    pub(super) async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(super) async fn submit(&self, job: &Value) -> String {
        let accepted = self.post("/v1/jobs", job).await;
        accepted["id"].as_str().unwrap().to_owned()
    }

    /// The ids of up to 1,000 jobs, in their order.
    pub(super) async fn submit_batch(&self, jobs: &[Value]) -> Vec<String> {
        let accepted = self.post("/v1/jobs/batch", &json!({"jobs": jobs})).await;
        let ids =
            accepted["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned());
        ids.collect()
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.post(format!("{}{path}", self.base)).json(body).send().await.unwrap();
        let status = answer.status();
        let answered: Value = answer.json().await.unwrap();
        assert_eq!(status, 202, "{path}: {answered}");
        answered
    }

    /// Waits until the history of a job is as it should be, and returns it.
    pub(super) async fn events_when(&self, id: &str, done: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let waiting = async {
            loop {
                last = self.get(&format!("/v1/jobs/{id}/events")).await;
                if done(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(2 * PATIENCE, waiting).await;
        assert!(in_time.is_ok(), "job {id} does not get there: {last:#}");
        last
    }
}
