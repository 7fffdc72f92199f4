//! A new version is rolled out: every process ends and starts again, one after the other, and no client notices.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use quillwork_domain::time::Timestamp;
use quillwork_test_servers::Postgres;
use quillwork_tests::fleet::{Fleet, Member, Role, Url, open_log, read_log};
use quillwork_tests::invariants;
use quillwork_tests::server::{run, text};
use quillwork_tests::stack::PATIENCE;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often a balancer asks, and how long it waits.
const PROBE: Duration = Duration::from_millis(100);

/// Keeps a list of those that say they are ready, as a load balancer does.
async fn balance(apis: Vec<Url>, ready: watch::Sender<Vec<String>>) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(1)).build().unwrap();
    loop {
        let mut found = Vec::new();
        for api in &apis {
            let base = api.borrow().clone();
            if let Some(base) = base
                && client
                    .get(format!("{base}/readyz"))
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status() == 200)
            {
                found.push(base);
            }
        }
        ready.send_if_modified(|ready| std::mem::replace(ready, found.clone()) != found);
        tokio::time::sleep(PROBE).await;
    }
}

/// What a client got that it should not have.
type Failures = Arc<Mutex<Vec<String>>>;

/// Submits and reads without ever trying again; returns how many jobs it submitted.
async fn client(
    n: usize,
    http: reqwest::Client,
    ready: watch::Receiver<Vec<String>>,
    stop: watch::Receiver<bool>,
    failures: Failures,
) -> usize {
    let mut n_submitted = 0;
    let fail = |what: String| failures.lock().unwrap().push(what);
    while !*stop.borrow() {
        let bases = ready.borrow().clone();
        let Some(base) = bases.get((n + n_submitted) % bases.len().max(1)) else {
            fail("no API was ready".into());
            tokio::time::sleep(PROBE).await;
            continue;
        };
        let body = json!({"topic": "rolling", "pipeline": "echo", "settings": {"echo": {"delay_ms": 100}}});
        match http.post(format!("{base}/v1/jobs")).json(&body).send().await {
            Ok(answer) if answer.status() == 202 => {
                n_submitted += 1;
                let accepted: Value = answer.json().await.unwrap();
                let url = format!("{base}/v1/jobs/{}", accepted["id"].as_str().unwrap());
                match http.get(&url).send().await {
                    Ok(answer) if answer.status() == 200 => {}
                    Ok(answer) => fail(format!("GET {url}: {}", answer.text().await.unwrap_or_default())),
                    Err(error) => fail(format!("GET {url}: {error:?}")),
                }
            }
            Ok(answer) => fail(format!("POST to {base}: {}", answer.text().await.unwrap_or_default())),
            Err(error) => fail(format!("POST to {base}: {error:?}")),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    n_submitted
}

async fn both_are_ready(ready: &mut watch::Receiver<Vec<String>>) {
    let both = tokio::time::timeout(2 * PATIENCE, ready.wait_for(|ready| ready.len() == 2)).await;
    assert!(both.is_ok_and(|both| both.is_ok()), "both APIs should get ready: {:?}", ready.borrow());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let database = Postgres::shared().database();
    let fleet = Fleet::on(database.url(), "lease = \"5s\"\n");
    let roles = [(Role::Api, "api"), (Role::Worker, "worker"), (Role::Projector, "projector")];
    let mut members: Vec<Member> =
        (1..=2).flat_map(|n| roles.map(|(role, name)| fleet.member(role, &format!("{name}-{n}")))).collect();
    for member in &mut members {
        member.start_and_wait().await;
    }
    let apis = vec![members[0].url(), members[3].url()];
    let (ready_sender, mut ready) = watch::channel(vec![]);
    let mut balancing = JoinSet::new();
    balancing.spawn(balance(apis, ready_sender));
    both_are_ready(&mut ready).await;

    let (stop, stopped) = watch::channel(false);
    let failures = Failures::default();
    let http = reqwest::Client::new();
    let mut clients = JoinSet::new();
    for n in 0..4 {
        clients.spawn(client(n, http.clone(), ready.clone(), stopped.clone(), failures.clone()));
    }
    for member in &mut members {
        let ended = member.terminate().await;
        assert!(ended.is_some_and(|status| status.success()), "{} ended with {ended:?}", member.name);
        member.start_and_wait().await;
        member.ready().await;
        both_are_ready(&mut ready).await;
    }
    stop.send_replace(true);
    let mut n_submitted = 0;
    while let Some(client) = clients.join_next().await {
        n_submitted += client.unwrap();
    }
    assert!(n_submitted > 20, "there was load: {n_submitted}");
    assert_eq!(*failures.lock().unwrap(), Vec::<String>::new());

    let reader = open_log(database.url()).await;
    let emptied = async {
        while !reader.tasks(None, 1).await.unwrap().is_empty() {
            tokio::time::sleep(PROBE).await;
        }
    };
    assert!(tokio::time::timeout(2 * PATIENCE, emptied).await.is_ok(), "the queue should get empty");
    let log = read_log(reader.as_ref()).await;
    let findings = invariants::check_log(&log, (Timestamp::default(), Timestamp::MAX));
    assert_eq!(findings, Vec::<String>::new());
    let count = |kind: &str| log.iter().filter(|event| event.kind == kind).count();
    assert_eq!((count("JobSubmitted"), count("JobCompleted")), (n_submitted, n_submitted));
    // Whoever ends in good order finishes what he began.
    assert_eq!(count("StageFailed"), 0);
    for member in &mut members {
        assert!(member.terminate().await.is_some_and(|status| status.success()), "{}", member.name);
    }
    let audit = tokio::task::block_in_place(|| run(&["audit", "verify", "--store", database.url()]));
    assert!(audit.status.success(), "{}{}", text(&audit.stdout), text(&audit.stderr));
}
