//! What the PostgreSQL server counts: statements, and bytes of its write-ahead log.

use quillwork_test_servers::{Database, Postgres};
use quillwork_tests::stack::{Ground, Stack};

use super::check;
use super::workload::{self, SLOTS};

/// Statements of the engine so far, the most frequent first. The extension comes with Debian's package of the server.
///
/// Without those of this file, and without the look at the head that processes take by the clock.
const STATEMENTS: &str = "SELECT s.calls, left(regexp_replace(s.query, '\\s+', ' ', 'g'), 90)
    FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND s.query !~ 'pg_stat_|pg_current_wal|^SELECT h.position, h.queue FROM'
    ORDER BY s.calls DESC";

const FORGET: &str = "SELECT FROM pg_stat_statements_reset()";

/// The byte of the write-ahead log that comes next.
const WAL: &str = "SELECT pg_current_wal_lsn() - '0/0'";

/// What one job cost the server.
struct Cost {
    statements: f64,
    wal_bytes: f64,
}

/// Counts while `work` runs, on a server where nothing else happens.
async fn cost_per_job(n_jobs: u32, work: impl AsyncFn(&Stack, u64)) -> Cost {
    let server = Postgres::start_with(&[
        ("shared_preload_libraries", "pg_stat_statements"),
        // Its own writes would be counted as ours.
        ("autovacuum", "off"),
    ]);
    let database = server.database();
    database.psql("CREATE EXTENSION pg_stat_statements");
    let ground = Ground::Database(database);
    let Ground::Database(database) = &ground else { unreachable!("it is one") };
    let stack = workload::start(&ground, SLOTS, |writer| writer).await;
    workload::one_at_a_time(&stack, 3).await;
    let wal: f64 = number(&database.psql(WAL));
    database.psql(FORGET);
    work(&stack, n_jobs.into()).await;
    let statements = n_statements(database);
    let wal = number(&database.psql(WAL)) - wal;
    stack.stop().await;
    Cost { statements: statements / f64::from(n_jobs), wal_bytes: wal / f64::from(n_jobs) }
}

#[expect(clippy::print_stdout, reason = "says which statements the count is made of")]
fn n_statements(database: &Database) -> f64 {
    let statements = database.psql(STATEMENTS);
    println!("statements:\n{statements}");
    statements.lines().filter_map(|line| line.split_once('|')).map(|(calls, _)| number(calls)).sum()
}

fn number(text: &str) -> f64 {
    text.trim().parse().unwrap()
}

#[tokio::test]
async fn a_lone_job() {
    let cost = cost_per_job(100, workload::one_at_a_time).await;
    check("statements of a lone job", "postgres", cost.statements);
}

#[tokio::test]
async fn jobs_under_full_load() {
    let cost = cost_per_job(1_000, workload::all_at_once).await;
    check("statements under full load", "postgres", cost.statements);
    check("bytes of write-ahead log", "postgres", cost.wal_bytes);
}
