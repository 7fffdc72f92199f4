//! The job that is counted, one at a time and many at once.

use std::sync::Arc;
use std::time::Duration;

use quillwork_app::engine::{EngineConfig, Submission};
use quillwork_app::ports::store::LogWriter;
use quillwork_domain::id::{JobId, Position};
use quillwork_tests::stack::{Deed, Ground, Handlers, PATIENCE, Stack, caller, config, job};
use tokio::task::JoinSet;
use uuid::Uuid;

/// As for `echo` on SQLite.
pub(super) const SLOTS: usize = 256;

/// Events of one job.
const EVENTS: u64 = 6;

/// An engine with a handler that returns a kilobyte. Its lease is renewed after the test, so that nothing else happens.
pub(super) async fn start(
    ground: &Ground,
    slots: usize,
    wrap: impl FnOnce(Box<dyn LogWriter>) -> Box<dyn LogWriter>,
) -> Stack {
    let handlers = Handlers::default().with("echo", slots, |_| Deed::ReturnBytes(1_024));
    let config = EngineConfig { lease: Duration::from_secs(600), ..config() };
    Stack::start_with(ground, handlers, config, wrap).await
}

/// Runs jobs one after the other: each begins when nothing is left to do for the one before.
pub(super) async fn one_at_a_time(stack: &Stack, n_jobs: u64) {
    for _ in 0..n_jobs {
        let last = stack.engine.feed().head().0 + EVENTS;
        stack.submit(job(&["echo", "echo"])).await.unwrap();
        all_durable(stack, last).await;
    }
}

/// Runs jobs that are submitted at once, each in a request of its own.
pub(super) async fn all_at_once(stack: &Stack, n_jobs: u64) {
    let last = stack.engine.feed().head().0 + EVENTS * n_jobs;
    let mut submissions = JoinSet::new();
    let two_stages = Arc::new(job(&["echo", "echo"]));
    for _ in 0..n_jobs {
        let engine = stack.engine.clone();
        let submission = Submission { id: JobId(Uuid::now_v7()), job: two_stages.clone() };
        submissions.spawn(async move { engine.submit(caller(), vec![submission]).await.remove(0) });
    }
    while let Some(accepted) = submissions.join_next().await {
        accepted.unwrap().unwrap();
    }
    all_durable(stack, last).await;
}

/// Waits until the log has grown to `last`.
async fn all_durable(stack: &Stack, last: u64) {
    let durable = stack.engine.feed().wait_past(Position(last - 1));
    let head = tokio::time::timeout(PATIENCE, durable).await;
    assert_eq!(head, Ok(Position(last)), "the jobs should end");
}
