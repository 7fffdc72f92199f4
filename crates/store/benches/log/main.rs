//! Appending to the log and claiming tasks, on SQLite and on a PostgreSQL server of our own, durable as in production.
//! Wall time: most of it is spent in the disk and in the server.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod batches;

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quillwork_app::clock;
use quillwork_app::ports::store::{Batch, Claim, LogWriter};
use quillwork_store::postgres::{self, Hears, PostgresConfig};
use quillwork_store::sqlite::{self, DataDir};
use quillwork_test_servers::{Database, Postgres};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::batches::{Appending, waiting};

/// Longer than any benchmark.
const LEASE: Duration = Duration::from_secs(3_600);

/// Slots that ask for work at once.
const CLAIMED: usize = 256;

/// A new store, gone when dropped.
struct Store {
    name: &'static str,
    writer: Box<dyn LogWriter>,
    _place: Place,
}

#[expect(dead_code, reason = "kept until the store is done with")]
enum Place {
    Directory(DataDir, TempDir),
    Database(Database),
}

impl Store {
    fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::own(dir.path()).unwrap();
        let (writer, _) = sqlite::open(&data).unwrap();
        Self { name: "sqlite", writer: Box::new(writer), _place: Place::Directory(data, dir) }
    }

    async fn postgres(server: &Postgres) -> Self {
        let database = server.database();
        let url = database.url().to_owned();
        let poll_interval = Duration::from_secs(1);
        let hears = Hears::All;
        let config = PostgresConfig { url, max_connections: 1, pooled: false, poll_interval, hears };
        postgres::migrate(&config).await.unwrap();
        let writer = postgres::writer(&config).unwrap();
        Self { name: "postgres", writer: Box::new(writer), _place: Place::Database(database) }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A new store of either kind, one after the other.
fn on_every_store(runtime: &Runtime, mut bench: impl FnMut(Store)) {
    bench(Store::sqlite());
    bench(runtime.block_on(Store::postgres(Postgres::shared())));
}

/// Commits of events, each with a task that is held, and without the tasks of the commit before.
fn append(criterion: &mut Criterion) {
    let runtime = runtime();
    for n_events in [1, 64, 1_024] {
        on_every_store(&runtime, |mut store| {
            let mut group = criterion.benchmark_group("append");
            group.throughput(Throughput::Elements(n_events as u64));
            let writer = store.writer.as_mut();
            let mut appending = runtime.block_on(Appending::begin(writer, LEASE));
            group.bench_function(BenchmarkId::new(store.name, n_events), |bencher| {
                bencher.iter_custom(|n_commits| {
                    let mut took = Duration::ZERO;
                    for _ in 0..n_commits {
                        let batch = appending.next(n_events);
                        let started = Instant::now();
                        runtime.block_on(writer.commit(appending.head, &batch)).unwrap();
                        took += started.elapsed();
                        appending.committed(&batch);
                    }
                    took
                });
            });
            group.finish();
        });
    }
}

/// Looking for work, where there is none and where there is more than enough.
fn claim(criterion: &mut Criterion) {
    let runtime = runtime();
    let claim = [Claim { handler: "echo".into(), after: "".into(), limit: CLAIMED }];
    for n_waiting in [0, 100_000] {
        on_every_store(&runtime, |mut store| {
            let writer = store.writer.as_mut();
            runtime.block_on(fill(writer, n_waiting));
            let mut group = criterion.benchmark_group("claim");
            group.bench_function(BenchmarkId::new(store.name, n_waiting), |bencher| {
                let mut found = || runtime.block_on(writer.ready(&claim, clock::now())).unwrap();
                assert_eq!(found()[0].len(), CLAIMED.min(n_waiting));
                bencher.iter(&mut found);
            });
            group.finish();
        });
    }
}

/// Puts tasks into the queue.
async fn fill(writer: &mut dyn LogWriter, n_tasks: usize) {
    let head = writer.survey().await.unwrap().head;
    let tasks: Vec<_> = (0..n_tasks).map(waiting).collect();
    for tasks in tasks.chunks(10_000) {
        writer.commit(head, &Batch { tasks: tasks.to_vec(), ..Batch::default() }).await.unwrap();
    }
}

fn quick() -> Criterion {
    // Short, because what is appended stays until the end.
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = quick(); targets = append, claim }
criterion_main!(benches);
