//! `quillwork bench` on the real server.

use quillwork_tests::server::{Server, run, text};
use serde_json::Value;

fn sum(histogram: &Value) -> u64 {
    histogram.as_array().unwrap().iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn every_job_and_every_query_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let bench = |args: &[&str]| run(&[&["bench", "--server", &server.url], args].concat());
    let figures = |args: &[&str]| {
        let output = bench(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };

    let nothing = bench(&["--queries", "5"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("submit some before"), "{}", text(&nothing.stderr));

    let jobs = figures(&["--jobs", "25", "--batch", "10", "--clients", "2", "--rate", "1000"]);
    assert_eq!((&jobs["jobs_accepted"], &jobs["jobs_completed"]), (&25.into(), &25.into()), "{jobs}");
    assert_eq!((sum(&jobs["submit_histogram"]), sum(&jobs["end_to_end_histogram"])), (3, 25), "{jobs}");
    assert!(jobs["schedule"]["overdue"].is_u64(), "{jobs}");

    // The list of jobs is a read model, and may be a moment behind.
    let head = server.get("/v1/stats").await["head"].clone();
    server.get(&format!("/v1/jobs?limit=1&min_position={head}")).await;
    let queries = figures(&["--queries", "60", "--clients", "4"]);
    assert_eq!((&queries["queries_answered"], &queries["jobs_known"]), (&60.into(), &25.into()), "{queries}");
    assert_eq!(sum(&queries["query_histogram"]), 60, "{queries}");
    assert_eq!(queries["schedule"], Value::Null);

    let printed = text(&bench(&["--queries", "10", "--clients", "1"]).stdout);
    assert!(printed.contains("10 of 10 answered") && printed.contains('█'), "{printed}");
}
