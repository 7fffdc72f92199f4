//! Several processes on one log: what they ask of the store because they are several, counted, and one job of which
//! each holds a stage.

use std::collections::BTreeMap;
use std::time::Duration;

use quillwork_app::engine::EngineConfig;
use quillwork_app::ports::store::LogWriter;
use quillwork_domain::job::{Budget, JobSubmitted, Phase};
use quillwork_tests::counting::{Calls, Counting};
use quillwork_tests::stack::{Deed, Ground, Handlers, Stack, caller, job, job_of, n_running, runs};
use quillwork_worker::stage::StageError;
use tokio::sync::watch;

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
    let (mut of_api, mut of_worker) = (since(&before.0, &of_api), since(&before.1, &of_worker));
    // A look can be faster than the word of what it finds.
    of_api.remove("survey");
    assert_eq!(of_api, BTreeMap::from([("commit", N_JOBS), ("lock", N_JOBS)]));
    // How often it looks without a lock, asks what is due next, and finds what it was not told of, is a matter of time.
    of_worker.retain(|method, _| !["ready", "next_due", "survey"].contains(method));
    // Each job is read once.
    let expected = [("commit", 3 * N_JOBS), ("load", N_JOBS), ("lock", 3 * N_JOBS)];
    assert_eq!(of_worker, BTreeMap::from(expected));
    worker.stop().await;
    api.stop().await;
}

/// Others that only look on cost no lock; their first commit brings it back.
#[tokio::test]
async fn who_writes_alone_does_not_lock() {
    let ground = Ground::postgres();
    let echo = Handlers::default().with("echo", 8, |_| Deed::Return("done"));
    let (busy, calls) = start(&ground, echo).await;
    let (quiet, _) = start(&ground, Handlers::default()).await;
    let locks = |before: &BTreeMap<_, _>| {
        let mut calls = since(before, &calls);
        calls.retain(|method, _| ["commit", "lock"].contains(method));
        calls
    };
    // Enough commits to see that nobody else makes any.
    run(&busy, 6).await;
    let before = calls.so_far();
    run(&busy, N_JOBS).await;
    assert_eq!(locks(&before), BTreeMap::from([("commit", 3 * N_JOBS)]));
    // No commit shows that the answer is of the present.
    let id = busy.submit(job(&["echo"])).await.unwrap().job;
    busy.ended(id).await;
    let before = calls.so_far();
    busy.engine.cancel(caller(), id, None).await.unwrap_err();
    assert_eq!(locks(&before), BTreeMap::from([("lock", 1)]));
    // Whoever has just started a job of another one locks for the rest of it.
    let id = quiet.submit(job(&["echo", "echo"])).await.unwrap().job;
    quiet.ended(id).await;
    assert!(locks(&before)["lock"] > 3);
    quiet.stop().await;
    busy.stop().await;
}

/// Handlers of which one process has the first, and another one the second.
fn halves(left: Deeds, right: Deeds) -> (Handlers, Handlers) {
    (Handlers::default().with("left", 1, left), Handlers::default().with("right", 1, right))
}

type Deeds = Box<dyn Fn(u32) -> Deed + Send + Sync>;

#[tokio::test]
async fn two_processes_hold_stages_of_one_job() {
    let ground = Ground::postgres();
    let said = [watch::Sender::new(false), watch::Sender::new(false)];
    let [first, second] = said.each_ref().map(watch::Sender::subscribe);
    let (left, right) = halves(
        Box::new(move |_| Deed::ReturnWhen(first.clone())),
        Box::new(move |_| Deed::ReturnWhen(second.clone())),
    );
    let (left, _) = start(&ground, left).await;
    let (right, _) = start(&ground, right).await;
    let id = left.submit(job_of(&[&["left", "right"], &["left"], &["right"]])).await.unwrap().job;
    left.job_when(id, |job| n_running(job) == 2).await;
    // The second process has seen nothing of this result when it reports its own.
    said[0].send_replace(true);
    left.job_when(id, |job| job.n_done() == 1).await;
    said[1].send_replace(true);
    assert_eq!(right.ended(id).await.phase, Phase::Completed);
    let kinds = right.kinds(id).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "StageCompleted").count(), 4, "{kinds:?}");
    assert!(!kinds.iter().any(|kind| kind.starts_with("StageFailed")), "{kinds:?}");
    left.stop().await;
    right.stop().await;
}

#[tokio::test]
async fn a_final_failure_ends_what_runs_in_another_process() {
    let ground = Ground::postgres();
    let said = watch::Sender::new(false);
    let (hangs, fails) = (said.subscribe(), said.subscribe());
    let (left, right) = halves(
        Box::new(move |_| if *hangs.borrow() { Deed::Return("done") } else { Deed::Hang }),
        Box::new(
            move |_| if *fails.borrow() { Deed::Fail(StageError::permanent("no")) } else { Deed::Panic },
        ),
    );
    let (left, _) = start(&ground, left).await;
    let id = left.submit(job_of(&[&["left", "right"]])).await.unwrap().job;
    left.job_when(id, runs).await;
    said.send_replace(true);
    let (right, _) = start(&ground, right).await;
    assert_eq!(right.ended(id).await.phase, Phase::Failed);
    // The slot of the stage that hung is free: its process was told, and its late word changed nothing.
    let next = right.submit(job(&["left"])).await.unwrap().job;
    assert_eq!(left.ended(next).await.phase, Phase::Completed);
    let kinds = left.kinds(id).await;
    assert_eq!(kinds.last().unwrap(), "JobFailed", "{kinds:?}");
    assert!(left.reader.tasks(None, 10).await.unwrap().is_empty());
    left.stop().await;
    right.stop().await;
}

/// What one process has set, another one does not take for set because it was so once.
#[tokio::test]
async fn what_a_client_is_told_is_so_in_the_log() {
    let ground = Ground::postgres();
    let (api, _) = start(&ground, Handlers::default()).await;
    let (worker, _) = start(&ground, Handlers::default().with("hangs", 1, |_| Deed::Hang)).await;
    let budget = Some(Budget { max_cost_micros: 100 });
    let id = api.submit(JobSubmitted { budget, ..job(&["hangs"]) }).await.unwrap().job;
    // From here on, the one that runs it knows the job.
    worker.job_when(id, runs).await;
    let raised = api.engine.set_budget(caller(), id, 200).await.unwrap();
    let lowered = worker.engine.set_budget(caller(), id, 100).await.unwrap();
    assert!(lowered.position > raised.position && lowered.version > raised.version);
    assert_eq!(worker.job(id).await.budget, Some(100));
    // It is so already, and is told of as it is.
    let again = worker.engine.set_budget(caller(), id, 100).await.unwrap();
    assert_eq!((again.position, again.version), (lowered.position, lowered.version));
    api.engine.cancel(caller(), id, None).await.unwrap();
    worker.stop().await;
    api.stop().await;
}
