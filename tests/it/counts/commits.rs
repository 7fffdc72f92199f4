//! Commits and other calls of the store, and what the log grows by.

use std::collections::BTreeMap;

use quillwork_app::ports::store::LogWriter;
use quillwork_tests::counting::{Calls, Counting};
use quillwork_tests::stack::{Ground, Stack};

use super::check;
use super::workload::{self, SLOTS};

quillwork_tests::on_every_store!(a_lone_job, jobs_under_full_load);

/// Counts the calls of the store while `work` runs, for each of `n_jobs` jobs, by method.
async fn calls_per_job(
    ground: &Ground,
    n_jobs: u64,
    work: impl AsyncFn(&Stack, u64),
) -> BTreeMap<&'static str, f64> {
    let calls = Calls::default();
    let counted = calls.clone();
    let wrap = move |inner| -> Box<dyn LogWriter> { Box::new(Counting { inner, calls: counted }) };
    let stack = workload::start(ground, SLOTS, wrap).await;
    // What is asked once at the start is not a cost of jobs.
    workload::one_at_a_time(&stack, 3).await;
    let before = calls.so_far();
    work(&stack, n_jobs).await;
    let after = calls.so_far();
    stack.stop().await;
    let per_job = |(method, n): (&'static str, usize)| {
        let n = n - before.get(method).copied().unwrap_or(0);
        (method, n as f64 / n_jobs as f64)
    };
    after.into_iter().map(per_job).filter(|(_, n)| *n > 0.0).collect()
}

#[expect(clippy::print_stdout, reason = "says which calls a count is made of")]
fn print(calls: &BTreeMap<&'static str, f64>) {
    println!("store calls per job: {calls:.3?}");
}

fn name(ground: &Ground) -> &'static str {
    match ground {
        Ground::Directory(_) => "sqlite",
        Ground::Database(_) => "postgres",
    }
}

async fn a_lone_job(ground: Ground) {
    let calls = calls_per_job(&ground, 100, workload::one_at_a_time).await;
    print(&calls);
    // Submission with the first start, first result with the second start, second result with the end.
    assert_eq!(
        calls["commit"], 3.0,
        "event commits of a lone job; look at app/src/engine/fill.rs: {calls:?}"
    );
    check("store calls of a lone job", name(&ground), calls.values().sum());
}

async fn jobs_under_full_load(ground: Ground) {
    let calls = calls_per_job(&ground, 1_000, workload::all_at_once).await;
    print(&calls);
    check("event commits under full load", name(&ground), calls["commit"]);
    check("store calls under full load", name(&ground), calls.values().sum());
    check("bytes of log", name(&ground), log_bytes(&ground) / 1_003.0);
}

/// What the events take on disk with their indexes, and the queue.
fn log_bytes(ground: &Ground) -> f64 {
    match ground {
        Ground::Directory(dir) => {
            let log = rusqlite::Connection::open(dir.path().join("log.db")).unwrap();
            let number = |pragma| log.pragma_query_value(None, pragma, |row| row.get::<_, f64>(0)).unwrap();
            number("page_count") * number("page_size")
        }
        Ground::Database(database) => {
            let sql = "SELECT pg_total_relation_size('quillwork.events')";
            database.psql(sql).trim().parse().unwrap()
        }
    }
}
