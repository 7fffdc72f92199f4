//! What processes on one log ask of the store because they are several, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use quillwork_app::engine::EngineConfig;
use quillwork_app::ports::store::LogWriter;
use quillwork_tests::counting::{Calls, Counting};
use quillwork_tests::stack::{Deed, Ground, Handlers, Stack, job};

const N_JOBS: usize = 20;

async fn start(ground: &Ground, handlers: Handlers) -> (Stack, Calls) {
    let calls = Calls::default();
    let counted = calls.clone();
    let wrap = |inner| Box::new(Counting { inner, calls: counted }) as Box<dyn LogWriter>;
    // Long enough that nobody is taken for dead on a slow machine.
    let config = EngineConfig { lease: Duration::from_secs(60), ..ground.config() };
    (Stack::start_with(ground, handlers, config, wrap).await, calls)
}

/// Jobs one after the other, submitted in a process without slots and run in another.
async fn run(api: &Stack, n_jobs: usize) {
    for _ in 0..n_jobs {
        let id = api.submit(job(&["echo", "echo"])).await.unwrap().job;
        api.ended(id).await;
    }
}

/// What was called after `before`.
fn since(before: &BTreeMap<&'static str, usize>, calls: &Calls) -> BTreeMap<&'static str, usize> {
    let counted = |(method, n): (&'static str, usize)| {
        let n_new = n - before.get(method).copied().unwrap_or_default();
        (n_new > 0).then_some((method, n_new))
    };
    calls.so_far().into_iter().filter_map(counted).collect()
}

/// A lock that is taken for nothing keeps others from writing, and a statement under it keeps them longer.
#[tokio::test]
async fn nobody_locks_or_asks_in_vain() {
    let ground = Ground::postgres();
    let (api, of_api) = start(&ground, Handlers::default()).await;
    let echo = Handlers::default().with("echo", 8, |_| Deed::Return("done"));
    let (worker, of_worker) = start(&ground, echo).await;
    // At first the API takes itself to be alone, and everyone reads the controls of the queues.
    run(&api, 1).await;
    let before = (of_api.so_far(), of_worker.so_far());
    run(&api, N_JOBS).await;
    let (of_api, mut of_worker) = (since(&before.0, &of_api), since(&before.1, &of_worker));
    assert_eq!(of_api, BTreeMap::from([("commit", N_JOBS), ("lock", N_JOBS)]));
    // How often it looks without a lock, and asks what is due next, is a matter of time.
    of_worker.retain(|method, _| !["ready", "next_due"].contains(method));
    // Each job is read once.
    let expected = [("commit", 3 * N_JOBS), ("load", N_JOBS), ("lock", 3 * N_JOBS)];
    assert_eq!(of_worker, BTreeMap::from(expected));
    worker.stop().await;
    api.stop().await;
}
