//! Several processes write one log.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};

use quillwork_app::ports::store::{Batch, CommitError, Head, LogReader as _, LogWatch as _};
use quillwork_domain::chain;
use quillwork_domain::id::{Position, StreamId, Version};

use super::*;
use crate::conformance::{TTL, at, entries, job, task, waiting};

/// Tells a test that it is a child: URL, whether there is a pool, whether to lock, and the number of the child.
const CHILD: &str = "QUILLWORK_STORE_TEST_CHILD";

const N_PROCESSES: u64 = 4;
const N_BATCHES: u64 = 25;

/// The streams that all of them write to.
const N_STREAMS: u128 = 5;

/// What a child does: batches of three events of shared streams and a task, each planned on what it loaded.
async fn write(mut writer: PostgresWriter, locking: bool, number: u64) {
    writer.open_lease("child", TTL).await.unwrap();
    let mut survey = writer.survey().await.unwrap();
    let mut n_written = 0;
    while n_written < N_BATCHES {
        if locking {
            survey = writer.lock().await.unwrap();
        }
        let first = u128::from(number + n_written);
        let jobs: Vec<u128> = (0..3).map(|n| 1 + (first + n) % N_STREAMS).collect();
        let streams: Vec<_> = jobs.iter().map(|id| (job(*id).into(), Version(0))).collect();
        let loaded = writer.load(&streams).await.unwrap();
        let events: Vec<(u128, u64)> =
            jobs.iter().zip(&loaded).map(|(id, events)| (*id, events.len() as u64 + 1)).collect();
        let id = 1_000 + u128::from(number * N_BATCHES + n_written);
        let batch = Batch {
            entries: entries(survey.head, &events),
            tasks: vec![waiting(task(id, 0, 1))],
            ..Batch::default()
        };
        match writer.commit(survey.head, &batch).await {
            Ok(()) => n_written += 1,
            Err(CommitError::HeadMoved) if !locking => {}
            Err(error) => panic!("{error:?}"),
        }
        if !locking {
            survey = writer.survey().await.unwrap();
        }
    }
}

/// Only a child does anything here.
#[tokio::test]
async fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let told: Vec<&str> = told.split(' ').collect();
    let [url, pooled, locking, number] = told[..] else { panic!("{told:?}") };
    let config = config(url, pooled == "pooled");
    write(writer(&config).unwrap(), locking == "locking", number.parse().unwrap()).await;
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(server: &OnServer, locking: bool, number: u64) -> Process {
    let pooled = if server.pooled { "pooled" } else { "direct" };
    let locking = if locking { "locking" } else { "comparing" };
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["postgres::tests::several::child", "--exact", "--nocapture", "--quiet"])
        .env(CHILD, format!("{} {pooled} {locking} {number}", server.config().url))
        .stdout(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

/// Reads along while they write, and fails at the first event that is not the next one.
async fn read_along(reader: &PostgresReader, mut watch: PostgresWatch, until: u64) {
    let mut head = Head::EMPTY;
    let mut versions: HashMap<StreamId, u64> = HashMap::new();
    while head.position.0 < until {
        for event in reader.read_all(head.position, 7).await.unwrap() {
            assert_eq!(event.position, head.position.next());
            assert_eq!(event.hash, chain::link(&head.hash, &event));
            let version = versions.entry(event.stream).or_default();
            *version += 1;
            assert_eq!(event.version.0, *version, "{}", event.stream);
            head = Head { position: event.position, hash: event.hash };
        }
        if reader.head().await.unwrap() == head && head.position.0 < until {
            soon(watch.next()).await;
        }
    }
    assert_eq!(reader.head().await.unwrap(), head);
}

async fn several_write(server: OnServer, locking: bool) {
    let reader = server.opened().await;
    let watch = watch(&server.config()).unwrap();
    let processes: Vec<Process> = (0..N_PROCESSES).map(|number| start(&server, locking, number)).collect();
    let n_events = N_PROCESSES * N_BATCHES * 3;
    read_along(&reader, watch, n_events).await;
    for mut process in processes {
        let ended = tokio::task::spawn_blocking(move || process.0.wait().unwrap());
        assert!(soon(ended).await.unwrap().success());
    }
    assert_eq!(reader.read_all(Position(n_events), 1).await.unwrap(), []);
    assert_eq!(reader.check().await.unwrap(), [] as [String; 0]);
    let mut last = server.writer();
    assert_eq!(last.survey().await.unwrap().backlog, N_PROCESSES * N_BATCHES);
    assert_eq!(last.next_due(&["echo".into()], at(0)).await.unwrap(), Some(at(1)));
}

#[tokio::test]
async fn processes_that_lock() {
    several_write(OnServer::direct(), true).await;
}

#[tokio::test]
async fn processes_that_compare() {
    several_write(OnServer::direct(), false).await;
}

#[tokio::test]
async fn processes_that_lock_through_a_pool() {
    several_write(OnServer::pooled(), true).await;
}

#[tokio::test]
async fn processes_that_compare_through_a_pool() {
    several_write(OnServer::pooled(), false).await;
}
