//! Several projectors on one PostgreSQL database.

use std::time::Duration;

use quillwork_domain::id::Position;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::history::{History, Step, job_id};
use super::log::MemoryLog;
use super::place::{Pg, Place};
use crate::job_summary::JobFilter;
use crate::postgres::{lease, schema};
use crate::projector::{Projector, ProjectorError};
use crate::read_models::{Health, ReadModelError, ReadModels};

/// For what must happen.
const SOON: Duration = Duration::from_secs(30);

/// Three events of each of `n` jobs, and one of the queues.
fn history(n: u8) -> History {
    let mut history = History::default();
    history.control(quillwork_domain::queue::QueueCommand::Pause { handler: "echo".into(), reason: None });
    for n in 0..n {
        history.step(job_id(n), Step::Submit { run_at: None, labels: true });
        history.step(job_id(n), Step::Start);
        history.step(job_id(n), Step::Cancel);
    }
    history
}

/// A process with a projector.
struct Process {
    models: ReadModels,
    shutdown: CancellationToken,
    projector: JoinHandle<Result<(), ProjectorError>>,
}

impl Process {
    /// One that sees the first `n_events` of the log.
    async fn start(pg: &Pg, history: &History, n_events: usize) -> Self {
        let log = MemoryLog::new(&history.entries[..n_events]);
        let models = pg.open(&log).await;
        let shutdown = CancellationToken::new();
        let projector = tokio::spawn(Projector::run(models.clone(), log.feed(), shutdown.clone()));
        Self { models, shutdown, projector }
    }

    async fn becomes(&self, health: Health) {
        let mut changes = self.models.watch_health();
        let reached = changes.wait_for(|now| *now == health);
        tokio::time::timeout(SOON, reached).await.unwrap().unwrap();
    }

    /// The end of a process that gets no time to say so.
    fn kill(self) {
        self.projector.abort();
    }
}

/// What one projector alone makes of the log.
async fn expected(history: &History) -> Vec<String> {
    let place = Place::postgres();
    place.with(history).await;
    place.dump().await
}

#[tokio::test]
async fn one_writes_and_after_its_death_the_other() {
    let (pg, history) = (Pg::new(), history(40));
    let first = Process::start(&pg, &history, 60).await;
    first.becomes(Health::Running).await;
    let second = Process::start(&pg, &history, 121).await;
    second.becomes(Health::Standby).await;
    assert!(first.models.wait_for(Position(60), SOON).await);
    // It shows what the other has written, and does not write what only it has heard of.
    assert!(second.models.wait_for(Position(60), SOON).await);
    assert_eq!(second.models.position(), Position(60));
    assert_eq!(first.models.health(), Health::Running);
    first.kill();
    assert!(second.models.wait_for(Position(121), SOON).await);
    second.becomes(Health::Running).await;
    assert_eq!(pg.dump().await, expected(&history).await);
}

#[tokio::test]
async fn who_ends_in_peace_hands_over() {
    let (pg, history) = (Pg::new(), history(4));
    let first = Process::start(&pg, &history, 4).await;
    first.becomes(Health::Running).await;
    let second = Process::start(&pg, &history, 13).await;
    second.becomes(Health::Standby).await;
    first.shutdown.cancel();
    first.projector.await.unwrap().unwrap();
    assert_eq!(first.models.health(), Health::Idle);
    assert!(second.models.wait_for(Position(13), SOON).await);
    assert_eq!(pg.dump().await, expected(&history).await);
}

#[tokio::test]
async fn who_was_stopped_meanwhile_writes_nothing() {
    let (pg, history) = (Pg::new(), history(4));
    let mut stopped = pg.tables().await;
    stopped.project(&[&history.entries[..4]]).await.unwrap();
    // Another has taken over and written nothing yet: the checkpoint alone would not tell.
    let mut other = pg.tables().await;
    let refused = stopped.project(&[&history.entries[4..8]]).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ProjectorError::ReadModel(ReadModelError::CheckpointMoved { expected: Position(4) })
        ),
        "{refused:?}"
    );
    assert!(stopped.renew().await.is_err());
    other.project(&[&history.entries[4..]]).await.unwrap();
    stopped.project(&[&history.entries[4..]]).await.unwrap_err();
    assert_eq!(pg.dump().await, expected(&history).await);
}

#[tokio::test]
async fn who_was_stopped_meanwhile_does_not_take_the_rows_of_another_for_a_fault() {
    let (pg, history) = (Pg::new(), history(1));
    pg.tables().await.project(&[&history.entries[..2]]).await.unwrap();
    // Knows no row of the job by heart.
    let mut stopped = pg.tables().await;
    pg.tables().await.project(&[&history.entries[2..]]).await.unwrap();
    let refused = stopped.project(&[&history.entries[2..]]).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ProjectorError::ReadModel(ReadModelError::CheckpointMoved { expected: Position(2) })
        ),
        "{refused:?}"
    );
    // Who has the turn is told of the fault.
    let mut in_turn = pg.tables().await;
    let refused = in_turn.project(&[&history.entries[2..]]).await.unwrap_err();
    assert!(matches!(refused, ProjectorError::OutOfStep(_)), "{refused:?}");
}

#[tokio::test]
async fn a_projector_that_lost_its_turn_stands_by_and_returns() {
    let (pg, history) = (Pg::new(), history(4));
    let process = Process::start(&pg, &history, 13).await;
    process.becomes(Health::Running).await;
    let (turn, checkpoint) = lease::take_over(&pg.live()).await.unwrap();
    process.becomes(Health::Standby).await;
    assert_eq!(checkpoint.position, process.models.position());
    turn.release().await.unwrap();
    process.becomes(Health::Running).await;
    assert_eq!(pg.dump().await, expected(&history).await);
}

#[tokio::test]
async fn a_rebuild_takes_the_turn_and_gives_it_back() {
    let (pg, history) = (Pg::new(), history(40));
    let process = Process::start(&pg, &history, 121).await;
    assert!(process.models.wait_for(Position(121), SOON).await);
    // Damage that only a rebuild mends.
    let damage = pg.live().sql("DELETE FROM {schema}.job_summary; DELETE FROM {schema}.job_label");
    sqlx::raw_sql(damage).execute(&pg.pool).await.unwrap();
    pg.rebuild(&MemoryLog::new(&history.entries).feed()).await;
    assert_eq!(pg.dump().await, expected(&history).await);
    process.becomes(Health::Running).await;
    let waited = loop {
        // Until the projector has found the new tables and has the turn there.
        let (_, free) = lease::look(&pg.live()).await.unwrap();
        if !free {
            break process.models.position();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(waited, Position(121));
    assert_eq!(process.models.stats().await.unwrap().jobs.cancelled, 40);
}

#[tokio::test]
async fn readers_read_throughout_a_rebuild() {
    let (pg, history) = (Pg::new(), history(40));
    pg.tables().await.project(&[&history.entries]).await.unwrap();
    let log = MemoryLog::new(&history.entries);
    let models = pg.open(&log).await;
    let ended = CancellationToken::new();
    let read = async {
        let mut n_reads = 0;
        let blue = JobFilter { label: Some("team:blue".into()), ..JobFilter::default() };
        // Prepared statements outlive the tables that they were prepared for.
        while !ended.is_cancelled() || n_reads < 10 {
            assert_eq!(models.job(job_id(0)).await.unwrap().unwrap().version.0, 3);
            assert_eq!(models.timeline(job_id(1)).await.unwrap().len(), 1);
            assert_eq!(models.jobs(&blue, 100).await.unwrap().items.len(), 40);
            assert_eq!(models.stats().await.unwrap().position, Position(121));
            n_reads += 1;
        }
    };
    let rebuild = async {
        for _ in 0..5 {
            pg.rebuild(&MemoryLog::new(&history.entries).feed()).await;
        }
        ended.cancel();
    };
    tokio::join!(read, rebuild);
}

#[tokio::test]
async fn a_second_rebuild_is_refused() {
    let (pg, history) = (Pg::new(), history(1));
    let new = pg.live().beside("_rebuild");
    schema::create(&new).await.unwrap();
    let (building, _) = lease::take_over(&new).await.unwrap();
    let feed = MemoryLog::new(&history.entries).feed();
    let refused = crate::rebuild_postgres(pg.pool.clone(), pg.config, &feed).await.unwrap_err();
    assert!(matches!(refused, ProjectorError::ReadModel(ReadModelError::Rebuilding)), "{refused:?}");
    // What a rebuild left that was cut short is of no hindrance.
    building.release().await.unwrap();
    pg.rebuild(&feed).await;
}

#[tokio::test]
async fn all_processes_may_make_the_tables_at_once() {
    let pg = Pg::new();
    let log = MemoryLog::new(&[]);
    let (one, two, three) = tokio::join!(pg.open(&log), pg.open(&log), pg.open(&log));
    assert_eq!([one, two, three].map(|models| models.position()), [Position(0); 3]);
}

#[tokio::test]
async fn who_may_not_create_says_what_is_missing() {
    let pg = Pg::new();
    let refused = ReadModels::open_postgres(pg.pool.clone(), pg.config, &MemoryLog::new(&[]), false).await;
    let error = refused.err().unwrap();
    assert!(error.to_string().contains("run `quillwork migrate`"), "{error}");
}
