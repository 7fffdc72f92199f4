//! Allocations on the heap of Rust code, counted by the allocator of this test binary.
//!
//! It counts for the whole process, so the test runs itself again in a process where nothing else happens.

use std::collections::BTreeMap;
use std::env;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use quillwork_api::{ApiState, HttpMetrics, Limits, Ops, Resources, router, serve};
use quillwork_app::catalog::{Catalog, CheckSettings};
use quillwork_app::engine::Submission;
use quillwork_domain::id::{JobId, Position};
use quillwork_projections::ReadModels;
use quillwork_tests::stack::{Ground, Stack, caller, job};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::check;
use super::workload::{self, SLOTS};

/// Set in the process that counts.
const ALONE: &str = "QUILLWORK_TEST_COUNTS_ALONE";

const REQUEST: &[u8] = b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
    content-length: 42\r\n\r\n{\"topic\":\"how retries work\",\"priority\":10}";

#[test]
fn allocations() {
    if env::var_os(ALONE).is_some() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(of_a_job());
        return runtime.block_on(of_a_submission());
    }
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", "counts::allocations::allocations", "--nocapture"]).env(ALONE, "1");
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test must find itself under its name");
}

/// Allocations while `work` runs, growing in place included.
async fn count(work: impl Future<Output = ()>) -> usize {
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    work.await;
    let spent = region.change();
    spent.allocations + spent.reallocations
}

/// From the call of the engine to the last event, through apalis and the runner.
async fn of_a_job() {
    const N_JOBS: usize = 1_000;
    let ground = Ground::sqlite();
    let stack = workload::start(&ground, SLOTS, |writer| writer).await;
    run(&stack, N_JOBS).await;
    let spent = run(&stack, N_JOBS).await;
    check("allocations of a job in engine and worker", "sqlite", spent as f64 / N_JOBS as f64);
    stack.stop().await;
}

/// Runs jobs that are submitted in requests of a hundred.
async fn run(stack: &Stack, n_jobs: usize) -> usize {
    let two_stages = Arc::new(job(&["echo", "echo"]));
    let request = |_| (0..100).map(|_| Submission { id: JobId(Uuid::now_v7()), job: two_stages.clone() });
    let requests: Vec<Vec<Submission>> = (0..n_jobs / 100).map(|n| request(n).collect()).collect();
    let last = stack.engine.feed().head().0 + 6 * n_jobs as u64;
    let caller = caller();
    count(async {
        for request in requests {
            let accepted = stack.engine.submit(caller.clone(), request).await;
            assert!(accepted.iter().all(Result::is_ok));
        }
        stack.engine.feed().wait_past(Position(last - 1)).await;
    })
    .await
}

/// From the bytes of a request to those of its answer, with the commit in between; no stage is started.
async fn of_a_submission() {
    const N_REQUESTS: usize = 300;
    let ground = Ground::sqlite();
    let stack = workload::start(&ground, 0, |writer| writer).await;
    let folder = tempfile::tempdir().unwrap();
    let models = ReadModels::open(&folder.path().join("read.db"), stack.reader.as_ref()).await.unwrap();
    let state = api_state(&stack, models);
    let shutdown = state.ops.shutdown.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, router(state), 10, shutdown.clone()));
    let spent = tokio::task::spawn_blocking(move || submit(address, N_REQUESTS)).await.unwrap();
    check("allocations of a submission over HTTP", "sqlite", spent as f64 / N_REQUESTS as f64);
    shutdown.cancel();
    server.await.unwrap();
    // A worker without slots takes nothing from its queue, not even its end.
    stack.crash();
}

fn api_state(stack: &Stack, models: ReadModels) -> ApiState {
    let anything = CheckSettings::new(|_| Ok(()));
    let pipelines = BTreeMap::from([("echo".to_owned(), job(&["echo", "echo"]).plan)]);
    let handlers = BTreeMap::from([("echo".to_owned(), anything)]);
    let mut registry = Registry::default();
    let metrics = HttpMetrics::register(&mut registry);
    let ops = Ops {
        engine: stack.engine.clone(),
        models: Some(models.clone()),
        reader: stack.reader.clone(),
        registry: Arc::new(registry),
        draining: CancellationToken::new(),
        shutdown: CancellationToken::new(),
    };
    let catalog = Arc::new(Catalog::new(pipelines, "echo".into(), handlers).unwrap());
    Resources { models, catalog, metrics, ops, limits: Limits::default() }.into()
}

/// A client that allocates nothing; the allocations while it waited for answers.
fn submit(address: SocketAddr, n_requests: usize) -> usize {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_nodelay(true).unwrap();
    let mut post = || {
        connection.write_all(REQUEST).unwrap();
        let mut answer = [0; 4_096];
        let mut n_read = 0;
        while !is_whole(&answer[..n_read]) {
            n_read += connection.read(&mut answer[n_read..]).unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(&answer[..n_read]));
    };
    for _ in 0..100 {
        post();
    }
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    for _ in 0..n_requests {
        post();
    }
    let spent = region.change();
    spent.allocations + spent.reallocations
}

/// An answer ends with the object in its body.
fn is_whole(answer: &[u8]) -> bool {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    head.is_some_and(|end| answer.len() > end + 4) && answer.ends_with(b"}")
}
