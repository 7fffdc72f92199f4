//! Whoever reads the logs of a process may go away.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use quillwork_tests::server::command;
use serde_json::json;

#[tokio::test]
async fn a_process_goes_on_when_nobody_reads_its_logs_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&["up", "--listen", "127.0.0.1:0", "--data-dir", dir.path().to_str().unwrap()]);
    // Each request is a line of the log, and more.
    command.env("QUILLWORK_LOG", "debug");
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut logs = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = logs.find(|line| line.contains("listening on ")).unwrap();
    drop(logs);

    let url = line.split("listening on ").nth(1).unwrap();
    let url = &url[..url.find('"').unwrap()];
    let client = reqwest::Client::new();
    for _ in 0..3 {
        let job =
            client.post(format!("{url}/v1/jobs")).json(&json!({"topic": "unheard", "pipeline": "echo"}));
        assert_eq!(job.send().await.unwrap().status(), 202);
    }
    assert_eq!(child.try_wait().unwrap(), None, "the process should still run");
    child.kill().unwrap();
    child.wait().unwrap();
}
