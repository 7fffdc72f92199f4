//! `kill -9` of the real binary under load, again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use quillwork_tests::server::{Server, run, text};
use serde_json::{Value, json};

/// Kills in this test; longer runs by hand with `QUILLWORK_TEST_KILLS`.
fn n_kills() -> u64 {
    std::env::var("QUILLWORK_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

fn body(n: u64) -> Value {
    if n.is_multiple_of(10) {
        json!({"topic": "crash recovery and leases"})
    } else {
        json!({"topic": format!("job {n}"), "pipeline": "echo", "settings": {"echo": {"delay_ms": n % 7}}})
    }
}

/// Submits jobs until the server is gone; remembers which job each key got.
async fn submit_until_dead(server: &Server, next: &mut u64, acknowledged: &mut BTreeMap<u64, String>) {
    loop {
        let n = *next;
        *next += 1;
        let request = server.client.post(format!("{}/v1/jobs", server.url));
        let request = request.header("idempotency-key", format!("key-{n}")).json(&body(n));
        let Ok(response) = request.send().await else { return };
        if response.status() == 202
            && let Ok(accepted) = response.json::<Value>().await
        {
            acknowledged.insert(n, accepted["id"].as_str().unwrap().to_owned());
        }
    }
}

#[tokio::test]
async fn no_acknowledged_job_is_lost_however_often_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut next = 0;
    for round in 0..n_kills() {
        let server = Server::start(dir.path(), &[]);
        // Spread over start-up, steady state and everything between; which instruction it hits is chance.
        let pid = server.pid();
        let delay = Duration::from_millis(30 + (round * 137) % 600);
        let killer = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let kill = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
            assert!(kill.unwrap().success());
        });
        submit_until_dead(&server, &mut next, &mut acknowledged).await;
        killer.await.unwrap();
        server.kill();
    }
    assert!(acknowledged.len() > 100, "there was load: {}", acknowledged.len());

    let server = Server::start(dir.path(), &[]);
    for n in 0..next {
        let request = server.client.post(format!("{}/v1/jobs", server.url));
        let response =
            request.header("idempotency-key", format!("key-{n}")).json(&body(n)).send().await.unwrap();
        let again: Value = response.json().await.unwrap();
        let id = again["id"].as_str().unwrap();
        assert!(acknowledged.get(&n).is_none_or(|first| first == id), "key-{n} names another job now");
        let job = server.ended(id).await;
        assert_eq!(job["status"], "completed", "{job}");
    }
    assert_eq!(server.get("/v1/stats").await["jobs"]["submitted"], next);
    assert_eq!(server.terminate(), Some(0));
    let audit = run(&["audit", "verify", "--data-dir", dir.path().to_str().unwrap()]);
    assert!(audit.status.success(), "{}{}", text(&audit.stdout), text(&audit.stderr));
}
