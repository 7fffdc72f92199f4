//! Many ask for single jobs at once.

use futures::future::join_all;
use quillwork_domain::job::Status;
use quillwork_test_servers::Postgres;

use super::history::{History, Step, job_id};
use super::log::MemoryLog;
use super::place::{Pg, Place, in_every_place};
use crate::read_models::ReadModels;

in_every_place!(everyone_gets_his_own_job, what_was_committed_before_is_seen);

/// Four jobs, of which the second runs.
fn history() -> History {
    let mut history = History::default();
    for n in 0..4 {
        history.step(job_id(n), Step::Submit { run_at: None, labels: true });
    }
    history.step(job_id(1), Step::Start);
    history
}

/// What 60 who ask at once are told of jobs 0 to 5.
async fn ask(models: &ReadModels) {
    let asked = (0..60).map(|n| async move { (n % 6, models.job(job_id(n % 6)).await.unwrap()) });
    for (n, job) in join_all(asked).await {
        assert_eq!(job.as_ref().map(|job| job.id), (n < 4).then(|| job_id(n)));
        let running = job.is_some_and(|job| job.status == Status::Running);
        assert_eq!(running, n == 1);
    }
}

async fn everyone_gets_his_own_job(place: Place) {
    let models = place.with(&history()).await;
    ask(&models).await;
    // Who hangs up leaves the others their answers.
    let hung_up = models.job(job_id(0));
    drop(tokio::time::timeout(std::time::Duration::ZERO, hung_up).await);
    ask(&models).await;
}

async fn what_was_committed_before_is_seen(place: Place) {
    let history = history();
    let mut tables = place.tables().await;
    let models = place.open(&MemoryLog::new(&history.entries)).await;
    for entry in &history.entries {
        let id = entry.recorded.stream.job().unwrap();
        let others = join_all((0..8).map(|n| models.job(job_id(n))));
        let page = [std::slice::from_ref(entry)];
        let (projected, _) = tokio::join!(tables.project(&page), others);
        projected.unwrap();
        assert_eq!(models.job(id).await.unwrap().unwrap().version, entry.recorded.version);
    }
}

#[tokio::test]
async fn a_cut_connection_is_made_again_before_anybody_notices() {
    let pg = Pg::new();
    let history = history();
    pg.tables().await.project(&[&history.entries]).await.unwrap();
    let models = pg.open(&MemoryLog::new(&history.entries)).await;
    ask(&models).await;
    Postgres::shared().terminate_connections(pg.database.name());
    ask(&models).await;
}
