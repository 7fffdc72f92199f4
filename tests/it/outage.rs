//! The database goes away for longer than a lease.

use std::time::Duration;

use quillwork_domain::job::Phase;
use quillwork_test_servers::Postgres;
use quillwork_tests::stack::{Deed, Ground, Handlers, Stack, job, runs};
use tokio::sync::watch;

/// Nobody can renew a lease meanwhile, and the first one who is back must not take the others for dead.
#[tokio::test]
async fn stages_that_run_through_an_outage_are_not_taken_for_lost() {
    let server = Postgres::start();
    let ground = Ground::Database(server.database());
    let go = watch::Sender::new(false);
    let said = go.subscribe();
    let waits = Handlers::default().with("waits", 4, move |_| Deed::ReturnWhen(said.clone()));
    let (working, idle) =
        (Stack::start(&ground, waits).await, Stack::start(&ground, Handlers::default()).await);
    let id = working.submit(job(&["waits"])).await.unwrap().job;
    working.job_when(id, runs).await;

    server.stop_immediate();
    // The outage is over only when every lease is.
    tokio::time::sleep(3 * ground.config().lease).await;
    server.start_again();
    for stack in [&working, &idle] {
        tokio::time::timeout(Duration::from_secs(30), async {
            while stack.engine.trouble().is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("it writes again");
    }
    go.send_replace(true);
    assert_eq!(working.ended(id).await.phase, Phase::Completed);
    assert_eq!(working.kinds(id).await, ["JobSubmitted", "StageStarted", "StageCompleted", "JobCompleted"]);
    working.stop().await;
    idle.stop().await;
}
