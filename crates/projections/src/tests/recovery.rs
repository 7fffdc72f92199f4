//! PostgreSQL goes away and comes back.

use std::time::Duration;

use quillwork_domain::id::Position;
use quillwork_test_servers::Postgres;
use tokio_util::sync::CancellationToken;

use super::history::{History, Step, job_id};
use super::log::MemoryLog;
use super::place::Pg;
use crate::job_summary::JobFilter;
use crate::projector::Projector;
use crate::read_models::{Health, ReadModels};

/// For what must happen.
const SOON: Duration = Duration::from_secs(60);

fn history() -> History {
    let mut history = History::default();
    for n in 0..4 {
        history.step(job_id(n), Step::Submit { run_at: None, labels: true });
    }
    history
}

/// A process without a projector.
async fn reader(pg: &Pg, log: &MemoryLog) -> ReadModels {
    let models = pg.open(log).await;
    tokio::spawn(models.clone().follow(CancellationToken::new()));
    becomes(&models, |health| *health == Health::Standby).await;
    models
}

async fn becomes(models: &ReadModels, wanted: impl FnMut(&Health) -> bool) {
    let mut changes = models.watch_health();
    tokio::time::timeout(SOON, changes.wait_for(wanted)).await.unwrap().unwrap();
}

async fn reader_follows(pg: Pg) {
    let history = history();
    let log = MemoryLog::new(&history.entries);
    let reader = reader(&pg, &log).await;
    assert!(!reader.wait_for(Position(1), Duration::from_millis(5)).await);
    let mut tables = pg.tables().await;
    for (n, entries) in history.entries.chunks(1).enumerate() {
        let position = Position(n as u64 + 1);
        let waited = reader.wait_for(position, SOON);
        let page = [entries];
        let (reached, projected) = tokio::join!(waited, tables.project(&page));
        projected.unwrap();
        assert!(reached);
        assert_eq!(reader.stats().await.unwrap().position, position);
    }
}

#[tokio::test]
async fn a_reader_follows_by_listening() {
    reader_follows(Pg::new()).await;
}

#[tokio::test]
async fn a_reader_follows_by_looking() {
    reader_follows(Pg::pooled()).await;
}

#[tokio::test]
async fn cut_connections_are_made_again() {
    let pg = Pg::new();
    let history = history();
    let log = MemoryLog::new(&history.entries);
    let reader = reader(&pg, &log).await;
    let mut tables = pg.tables().await;
    tables.project(&[&history.entries[..2]]).await.unwrap();
    assert!(reader.wait_for(Position(2), SOON).await);
    Postgres::shared().terminate_connections(pg.database.name());
    let models = pg.open(&log).await;
    let projector = tokio::spawn(Projector::run(models.clone(), log.feed(), CancellationToken::new()));
    becomes(&models, |health| *health == Health::Running).await;
    Postgres::shared().terminate_connections(pg.database.name());
    assert!(reader.wait_for(Position(4), SOON).await);
    assert_eq!(reader.stats().await.unwrap().jobs.submitted, 4);
    projector.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_found_again() {
    let server = Postgres::start();
    let pg = Pg::on(&server);
    let history = history();
    let log = MemoryLog::new(&history.entries);
    let reader = reader(&pg, &log).await;
    let models = pg.open(&log).await;
    let feed = MemoryLog::new(&history.entries[..2]).feed();
    let first = tokio::spawn(Projector::run(models.clone(), feed, CancellationToken::new()));
    assert!(reader.wait_for(Position(2), SOON).await);

    server.stop_immediate();
    becomes(&models, |health| matches!(health, Health::Retrying(_))).await;
    becomes(&reader, |health| matches!(health, Health::Retrying(_))).await;
    server.start_again();
    becomes(&models, |health| *health == Health::Running).await;
    becomes(&reader, |health| *health == Health::Standby).await;

    // The crash may have taken the last commits of the read models; the log has them.
    first.abort();
    let models = pg.open(&log).await;
    let second = tokio::spawn(Projector::run(models.clone(), log.feed(), CancellationToken::new()));
    assert!(reader.wait_for(Position(4), SOON).await);
    assert_eq!(reader.stats().await.unwrap().jobs.submitted, 4);
    second.abort();
}

/// As when clients hang up in the middle of their requests. Through a pooler, where beginning takes long enough to be hit.
#[tokio::test]
async fn queries_that_are_dropped_leave_no_transaction_open() {
    let pg = Pg::pooled();
    let history = history();
    let log = MemoryLog::new(&history.entries);
    let models = pg.open(&log).await;
    let mut tables = pg.tables().await;
    tables.project(&[&history.entries[..2]]).await.unwrap();
    // All connections are there.
    let filter = JobFilter::default();
    futures::future::join_all((0..8).map(|_| models.jobs(&filter, 10))).await;
    for wave in 0..40 {
        let hung_up = (0..8).map(|n| {
            // Sooner or later, which is all the same to a client that is gone.
            let patience = Duration::from_micros(1_020 - wave * 25 + n * 3);
            tokio::time::timeout(patience, models.jobs(&filter, 10))
        });
        futures::future::join_all(hung_up).await;
    }
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    tokio::time::timeout(SOON, async {
        while Postgres::shared().psql(pg.database.name(), open) != "0" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("what was begun ends");
    tables.project(&[&history.entries[2..]]).await.unwrap();
    assert_eq!(models.jobs(&JobFilter::default(), 10).await.unwrap().items.len(), 4);
}
