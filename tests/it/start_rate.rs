//! Stages that wait for their turn: in one engine, and in a fleet on one Redis.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::rate_limiter::{Decision, Rate, RateLimiter};
use quillwork_domain::job::{Phase, StagePhase};
use quillwork_domain::plan::Plan;
use quillwork_test_servers::Redis;
use quillwork_tests::server::Server;
use quillwork_tests::stack::{Deed, Ground, Handlers, PATIENCE, Stack, caller, job};
use quillwork_worker::start_rate::{MAX_WAIT, StartRate};
use serde_json::json;
use tokio::sync::Notify;

/// Denies with what it was given, one after the other, then allows.
#[derive(Default)]
struct Denying {
    waits: Mutex<Vec<Duration>>,
    asked: Notify,
}

#[async_trait]
impl RateLimiter for Denying {
    async fn acquire(&self, _: &str, _: Rate, _: u32) -> Decision {
        self.asked.notify_one();
        let next = self.waits.lock().unwrap().pop();
        next.map_or(Decision::Allowed, |retry_after| Decision::Denied { retry_after })
    }
}

fn denying(wait: Duration) -> Arc<Denying> {
    Arc::new(Denying { waits: Mutex::new(vec![wait]), ..Denying::default() })
}

/// One slot of a handler that asks `limiter` first.
fn limited(limiter: &Arc<Denying>) -> Handlers {
    let rate = Rate::new(1, Duration::from_secs(1), 1).unwrap();
    let start_rate = StartRate::new(limiter.clone(), "limited", rate);
    Handlers::default().with("limited", 1, |_| Deed::Return("done")).at(Arc::new(start_rate))
}

#[tokio::test]
async fn waiting_for_a_turn_is_no_part_of_the_timeout() {
    let ground = Ground::sqlite();
    let stack = Stack::start(&ground, limited(&denying(Duration::from_millis(500)))).await;
    let mut quick = job(&["limited"]);
    let mut stages = quick.plan.stages().to_vec();
    // Less than the wait; the stage itself returns at once.
    stages[0].timeout_ms = 250;
    quick.plan = Plan::new(stages).unwrap();
    let id = stack.submit(quick).await.unwrap().job;
    assert_eq!(stack.ended(id).await.phase, Phase::Completed);
    assert_eq!(
        stack.kinds(id).await,
        ["JobSubmitted", "StageStarted", "StageCompleted", "JobCompleted"],
        "the wait left no trace"
    );
    stack.stop().await;
}

#[tokio::test]
async fn a_turn_that_is_far_away_parks_the_job_and_frees_the_slot() {
    let ground = Ground::sqlite();
    let stack = Stack::start(&ground, limited(&denying(2 * MAX_WAIT))).await;
    let parked = stack.submit(job(&["limited"])).await.unwrap().job;
    let state =
        stack.job_when(parked, |job| matches!(job.stages[0].phase, StagePhase::Retrying { .. })).await;
    assert_eq!((state.stages[0].failures, state.stages[0].rate_limits), (0, 1), "no attempt is burnt");
    assert_eq!(stack.kinds(parked).await, ["JobSubmitted", "StageStarted", "StageFailed rate_limited"]);
    let other = stack.submit(job(&["limited"])).await.unwrap().job;
    assert_eq!(stack.ended(other).await.phase, Phase::Completed);
    stack.stop().await;
}

#[tokio::test]
async fn a_job_can_be_cancelled_while_it_waits() {
    let ground = Ground::sqlite();
    let limiter = denying(MAX_WAIT);
    let stack = Stack::start(&ground, limited(&limiter)).await;
    let waiting = stack.submit(job(&["limited"])).await.unwrap().job;
    limiter.asked.notified().await;
    stack.engine.cancel(caller(), waiting, None).await.unwrap();
    let other = stack.submit(job(&["limited"])).await.unwrap().job;
    assert_eq!(stack.ended(other).await.phase, Phase::Completed, "the slot is free");
    assert_eq!(stack.job(waiting).await.phase, Phase::Cancelled);
    stack.stop().await;
}

fn configured(dir: &Path, settings: &str) -> Server {
    let config = dir.join("q.toml");
    fs::write(&config, settings).unwrap();
    Server::start(dir, &["--config", config.to_str().unwrap()])
}

async fn has_status(server: &Server, id: &str, status: &str) {
    let path = format!("/v1/jobs/{id}");
    let reached = async {
        while server.get(&path).await["status"] != status {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{id} should be {status}"));
}

#[tokio::test]
async fn a_fleet_shares_the_rate_and_goes_on_without_redis() {
    let redis = Redis::start();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // Four starts are two jobs of the pipeline.
    let settings = format!("redis = '{}'\n[stages.echo]\nrate = '1/h'\nburst = 4\n", redis.url());
    let [one, other] = [configured(dirs[0].path(), &settings), configured(dirs[1].path(), &settings)];
    for server in [&one, &other] {
        let id = server.submit_echo(json!({})).await;
        assert_eq!(server.ended(&id).await["status"], "completed");
    }
    for server in [&one, &other] {
        let id = server.submit_echo(json!({})).await;
        has_status(server, &id, "retrying").await;
        assert_eq!(server.kinds(&id).await, ["JobSubmitted", "StageStarted", "StageFailed"]);
    }

    redis.kill();
    for server in [&one, &other] {
        let id = server.submit_echo(json!({})).await;
        assert_eq!(server.ended(&id).await["status"], "completed", "each process by itself");
    }
}

#[tokio::test]
async fn a_process_that_ends_does_not_wait_for_the_turns_of_its_stages() {
    let dir = tempfile::tempdir().unwrap();
    // The next turn is a minute away: short enough to wait for, longer than this test has patience.
    let server = configured(dir.path(), "shutdown_grace = '1h'\n[stages.echo]\nrate = '1/min'\n");
    let id = server.submit_echo(json!({})).await;
    let second = async {
        while server.kinds(&id).await.iter().filter(|kind| *kind == "StageStarted").count() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, second).await.unwrap();
    let ending = tokio::task::spawn_blocking(move || server.terminate());
    assert_eq!(tokio::time::timeout(PATIENCE, ending).await.unwrap().unwrap(), Some(0));

    let server = configured(dir.path(), "");
    assert_eq!(server.ended(&id).await["status"], "completed");
    let kinds = server.kinds(&id).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "StageCompleted").count(), 2, "{kinds:?}");
}
