//! What a service that does not do its work makes of a job.

use quillwork_tests::outside::{events, start};
use quillwork_tests::world::{Reply, World};
use serde_json::json;

use super::{classes, config, job_when, submit};

const JSON: &str = "application/json";

/// Topic, first answer, the classes of the failed attempts, and the status at the end.
type Case = (&'static str, Reply, &'static [&'static str], &'static str);

fn refusal(status: u16, wait: Option<&str>, body: &str) -> Reply {
    Reply::Other(status, wait.map(str::to_owned), JSON, body.to_owned())
}

#[tokio::test]
async fn an_answer_decides_whether_the_job_goes_on() {
    let at_once = Some("0");
    let told = r#"{"error":{"class":"permanent","message":"no such\nvoice"}}"#;
    let huge = format!("\"{}\"", "x".repeat(16 * 1024 * 1024));
    let cases: Vec<Case> = vec![
        ("busy", refusal(503, at_once, ""), &["rate_limited"], "completed"),
        ("past", refusal(429, Some("Wed, 21 Oct 2015 07:28:00 GMT"), ""), &["rate_limited"], "completed"),
        ("down", refusal(500, None, ""), &["transient"], "completed"),
        ("early", refusal(425, None, ""), &["transient"], "completed"),
        ("cut", Reply::Cut, &["transient"], "completed"),
        ("html", Reply::Other(200, None, "text/html", "<html>".to_owned()), &["bad_output"], "completed"),
        ("nothing", refusal(204, None, ""), &["bad_output"], "completed"),
        ("gone", refusal(404, None, ""), &["permanent"], "failed"),
        ("later", refusal(202, None, "{}"), &["permanent"], "failed"),
        ("moved", refusal(307, None, ""), &["permanent"], "failed"),
        ("told", refusal(500, None, told), &["permanent"], "failed"),
        ("large", refusal(413, None, ""), &["too_large"], "failed"),
        ("huge", refusal(200, None, &huge), &["too_large"], "failed"),
        ("poor", refusal(402, at_once, ""), &["quota"], "failed"),
    ];
    let world = World::start().await;
    let answers: Vec<(&str, Reply)> = cases.iter().map(|case| (case.0, case.1.clone())).collect();
    world.service(move |asked| {
        let first = answers.iter().find(|(topic, _)| asked.body["topic"] == *topic);
        match (asked.body["attempt"].as_u64(), first) {
            (Some(1), Some((_, reply))) => reply.clone(),
            _ => Reply::Output(json!("done")),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &config(dir.path(), &world.url("/run"), "", ""));
    for (topic, _, expected, status) in cases {
        let id = submit(&server, topic).await;
        let job = server.ended(&id).await;
        assert_eq!(classes(&server, &id).await, expected, "{topic}: {job}");
        assert_eq!(job["status"], status, "{topic}: {job}");
        if topic == "told" {
            let message = job["error"]["message"].as_str().unwrap();
            assert!(message.ends_with("no such voice"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_service_that_asks_for_patience_gets_it_from_all_jobs() {
    let world = World::start().await;
    world.service(|_| refusal(429, Some("3600"), ""));
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &config(dir.path(), &world.url("/run"), ", max_attempts = 1", ""));
    let first = submit(&server, "tea").await;
    job_when(&server, &first, "retrying").await;
    let second = submit(&server, "coffee").await;
    job_when(&server, &second, "retrying").await;
    for id in [first, second] {
        assert_eq!(classes(&server, &id).await, ["rate_limited"], "no attempt is burnt");
    }
    assert_eq!(world.service_asked(1).await.len(), 1, "the second job does not ask");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/run");
    let server = start(dir.path(), &config(dir.path(), &url, "", ""));
    let id = submit(&server, "tea").await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "failed");
    assert_eq!(classes(&server, &id).await, ["transient"; 3]);
    let failed = events(&server, &id, "StageFailed").await;
    let message = failed[0]["error"].as_str().unwrap();
    assert!(message.contains(&url) && message.contains("Connection refused"), "{message}");
}
