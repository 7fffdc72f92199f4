//! Views and ratings of articles: one article that many look at in several processes, and `kill -9` meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quillwork_app::audit::{Scope, verify_store};
use quillwork_app::engine::Noted;
use quillwork_app::views::Views;
use quillwork_domain::content::{ContentCommand, ContentEvent, ContentRated};
use quillwork_domain::id::{JobId, StreamId, Version};
use quillwork_domain::job::Event;
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::wire;
use quillwork_tests::server::{Server, run, text};
use quillwork_tests::stack::{Deed, Ground, Handlers, Stack, caller, job};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Views of one article at once, in each process.
const N_VIEWS: u64 = 400;

fn rating() -> ContentCommand {
    ContentCommand::Rate(ContentRated {
        stars: 4.try_into().unwrap(),
        rater: None,
        idempotency_key: Some("rating".into()),
        request_digest: Some(Sha256Digest::of(b"rating")),
    })
}

/// The article of a new job.
async fn article(stack: &Stack) -> JobId {
    let id = stack.submit(job(&["echo"])).await.unwrap().job;
    stack.ended(id).await;
    id
}

/// Readers in all processes view one article at once, and one of them rates it in each.
async fn crowd(stacks: &[Stack]) {
    let article = article(&stacks[0]).await;
    let mut readers = JoinSet::new();
    for stack in stacks {
        let views = Views::new(stack.engine.clone());
        for _ in 0..N_VIEWS {
            let views = views.clone();
            readers.spawn(async move { views.add(article, 1, ("default".into(), Uuid::now_v7())).await });
        }
        let engine = stack.engine.clone();
        readers.spawn(async move { engine.note(caller(), article, rating()).await });
    }
    let noted: Vec<Noted> = readers.join_all().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(noted.iter().filter(|noted| noted.replayed).count(), stacks.len() - 1);

    let reader = stacks[0].reader.as_ref();
    let events = reader.stream(StreamId::Content(article), Version(0), usize::MAX >> 1).await.unwrap();
    let (mut n_views, mut n_ratings) = (0, 0);
    for (recorded, version) in events.iter().zip(1..) {
        assert_eq!(recorded.version, Version(version));
        let Event::Content(event) = wire::decode(recorded).unwrap() else { panic!("{recorded:?}") };
        match event {
            ContentEvent::Viewed(viewed) => n_views += viewed.count,
            ContentEvent::Rated(_) => n_ratings += 1,
        }
    }
    assert_eq!((n_views, n_ratings), (N_VIEWS * stacks.len() as u64, 1));
    assert!((events.len() as u64) < n_views / 4, "{} events", events.len());
    let report = verify_store(reader, Scope::Everything, |_, _| {}).await.unwrap();
    assert!(report.ok, "{report:#?}");
}

fn echo() -> Handlers {
    Handlers::default().with("echo", 8, |_| Deed::Return("done"))
}

#[tokio::test]
async fn a_crowd_in_one_process_is_a_few_events() {
    let ground = Ground::sqlite();
    let stack = Stack::start(&ground, echo()).await;
    crowd(std::slice::from_ref(&stack)).await;
    stack.stop().await;
}

#[tokio::test]
async fn a_crowd_in_several_processes_is_counted_once() {
    let ground = Ground::postgres();
    let stacks = [Stack::start(&ground, echo()).await, Stack::start(&ground, echo()).await];
    crowd(&stacks).await;
    for stack in stacks {
        stack.stop().await;
    }
}

/// Views, kills the server with the answer to the `until`-th view, and goes on until it is gone. Returns how many views
/// were sent, and how many of them it answered for.
async fn view_until_dead(server: &Server, id: &str, until: u64) -> (u64, u64) {
    let (sent, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut readers = JoinSet::new();
    for _ in 0..16 {
        let request = server.client.post(format!("{}/v1/content/{id}/views", server.url));
        let (sent, answered, pid) = (sent.clone(), answered.clone(), server.pid());
        readers.spawn(async move {
            loop {
                sent.fetch_add(1, Ordering::Relaxed);
                let Ok(response) = request.try_clone().unwrap().send().await else { return };
                assert_eq!(response.status(), 202);
                if answered.fetch_add(1, Ordering::Relaxed) + 1 == until {
                    let kill = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
                    assert!(kill.unwrap().success());
                }
            }
        });
    }
    readers.join_all().await;
    (sent.load(Ordering::Relaxed), answered.load(Ordering::Relaxed))
}

#[tokio::test]
async fn no_acknowledged_view_is_lost_however_often_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let id = server.submit_echo(json!({})).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    server.kill();
    let (mut sent, mut answered) = (0, 0);
    for until in [1, 20, 77, 200] {
        let server = Server::start(dir.path(), &[]);
        let more = view_until_dead(&server, &id, until).await;
        (sent, answered) = (sent + more.0, answered + more.1);
        server.kill();
    }
    let server = Server::start(dir.path(), &[]);
    let last = server.post(&format!("/v1/content/{id}/views"), json!({"count": 1})).await;
    let position = last.json::<Value>().await.unwrap()["position"].clone();
    let shown = server.get(&format!("/v1/content/{id}/analytics?min_position={position}")).await;
    let views = shown["views"].as_u64().unwrap();
    // One that was not answered may have been counted all the same.
    assert!((answered + 1..=sent + 1).contains(&views), "{answered} answered of {sent}, {views} counted");
    let json = |args: &[&str]| -> Value {
        let output = run(&[&["content"], args, &["--server", &server.url, "--json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(json(&["analytics", &id]), shown);
    assert_eq!(json(&["list", "--sort", "rating"])["items"], json!([shown]));
    assert_eq!(server.terminate(), Some(0));
    let data = ["--data-dir", dir.path().to_str().unwrap()];
    for command in [&["audit", "verify"][..], &["rebuild"], &["audit", "verify"]] {
        let output = run(&[command, &data].concat());
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.get(&format!("/v1/content/{id}/analytics")).await, shown);
}
