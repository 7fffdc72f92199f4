//! The engine on a store that costs nothing: CPU time of the whole process per command, from the call to its verdict,
//! and per job, from its submission to its last event.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod void;

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use quillwork_app::engine::{
    self, Caller, EngineConfig, EngineThread, Outcome, PackedOutput, StageRun, Submission, WorkerPort,
};
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::job::JobSubmitted;
use quillwork_domain::payload::{Payload, Sha256Digest};
use quillwork_domain::plan::{Backoff, Plan, PlannedStage};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use uuid::Uuid;

use crate::void::Void;

/// An engine, and the runs that it hands out.
struct Rig {
    thread: EngineThread,
    runs: UnboundedReceiver<StageRun>,
    output: Payload,
}

impl Rig {
    async fn start(slots: usize) -> Self {
        let config = EngineConfig {
            worker: "bench".into(),
            lease: Duration::from_secs(600),
            max_pending: 100_000,
            max_backlog: u64::MAX,
            max_batch: 1_024,
            cache_bytes: 32 << 20,
        };
        let (sender, runs) = mpsc::unbounded_channel();
        let port = WorkerPort { handler: "echo".into(), slots, runs: sender };
        let thread =
            engine::start(config, Box::new(Void::default()), Arc::new(Void::default()), vec![port]).await;
        let output = serde_json::value::to_raw_value(&"x".repeat(1_022)).unwrap();
        Self { thread: thread.unwrap(), runs, output: Payload::inline(output).unwrap() }
    }

    /// Submits what each caller has, all at once.
    async fn submit(&self, requests: Vec<(Caller, Vec<Submission>)>) {
        let engine = self.thread.engine();
        let verdicts = join_all(requests.into_iter().map(|(caller, jobs)| engine.submit(caller, jobs))).await;
        assert!(verdicts.iter().flatten().all(Result::is_ok));
    }

    /// Submits jobs, completes both of their stages, and waits until the last event is durable.
    async fn run(&mut self, requests: Vec<(Caller, Vec<Submission>)>) {
        let engine = self.thread.engine();
        let n_jobs: usize = requests.iter().map(|(_, jobs)| jobs.len()).sum();
        let last = engine.feed().head().0 + 6 * n_jobs as u64;
        self.submit(requests).await;
        for _ in 0..2 * n_jobs {
            let run = self.runs.recv().await.unwrap();
            let output = PackedOutput { payload: self.output.clone(), blob: None, usage: None, rework: None };
            engine.finish(run.job, run.stage, run.attempt, Outcome::Completed(output));
        }
        engine.feed().wait_past(Position(last - 1)).await;
    }

    async fn end(self) {
        self.thread.engine().stop();
        self.thread.join().await.unwrap();
    }
}

fn caller(tenant: usize) -> Caller {
    Caller {
        actor: "client".into(),
        tenant: format!("tenant-{tenant:04}").into(),
        correlation_id: Uuid::now_v7(),
        traceparent: None,
    }
}

/// Jobs of two echo stages, with the idempotency keys that begin with `key` if there is one.
fn jobs(n_jobs: usize, key: Option<&str>) -> Vec<Submission> {
    let stage = |name: &str| PlannedStage {
        name: name.into(),
        handler: "echo".into(),
        max_attempts: 3,
        timeout_ms: 60_000,
        backoff: Backoff { initial_ms: 1_000, factor: 2, max_ms: 60_000 },
        max_rate_limited: 100,
        max_lost: 20,
        beside_previous: false,
    };
    let plan = Plan::new(vec![stage("first"), stage("second")]).unwrap();
    let submission = |n: usize| {
        let idempotency_key = key.map(|key| format!("{key}-{n}"));
        let request_digest = idempotency_key.as_ref().map(|key| Sha256Digest::of(key.as_bytes()));
        let job = JobSubmitted {
            idempotency_key,
            request_digest,
            ..JobSubmitted::new("x".repeat(120), "echo".into(), plan.clone())
        };
        Submission { id: JobId(Uuid::now_v7()), job: Arc::new(job) }
    };
    (0..n_jobs).map(submission).collect()
}

/// Of all threads of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Times rounds of `n_items` items each.
fn bench<R>(
    criterion: &mut Criterion,
    id: BenchmarkId,
    n_items: usize,
    slots: usize,
    mut prepare: impl FnMut(u64) -> R,
    mut round: impl AsyncFnMut(&mut Rig, R),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(n_items as u64));
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|n_rounds| {
            runtime.block_on(async {
                let mut rig = Rig::start(slots).await;
                let mut took = Duration::ZERO;
                for n in 0..n_rounds {
                    let input = prepare(n);
                    let before = cpu_time();
                    round(&mut rig, input).await;
                    took += cpu_time().saturating_sub(before);
                }
                rig.end().await;
                took
            })
        });
    });
    group.finish();
}

/// Nothing can start: what a submission alone costs.
fn verdicts(criterion: &mut Criterion) {
    for n_jobs in [1, 100, 1_000] {
        let id = BenchmarkId::new("verdicts on new jobs", n_jobs);
        let request = move |_| vec![(caller(0), jobs(n_jobs, None))];
        bench(criterion, id, n_jobs, 0, request, async |rig, requests| rig.submit(requests).await);
    }
    let id = BenchmarkId::new("verdicts on new keys", 100);
    let request = |n: u64| vec![(caller(0), jobs(100, Some(&format!("key-{n}"))))];
    bench(criterion, id, 100, 0, request, async |rig, requests| rig.submit(requests).await);
    let id = BenchmarkId::new("verdicts on known keys", 100);
    let request = |_| vec![(caller(0), jobs(100, Some("key")))];
    bench(criterion, id, 100, 0, request, async |rig, requests| rig.submit(requests).await);
}

/// Everything starts at once: three commits for all of the jobs.
fn whole_jobs(criterion: &mut Criterion) {
    for n_jobs in [1, 1_000] {
        let id = BenchmarkId::new("whole jobs", n_jobs);
        let request = move |_| vec![(caller(0), jobs(n_jobs, None))];
        bench(criterion, id, n_jobs, n_jobs, request, async |rig, requests| rig.run(requests).await);
    }
}

/// As before, when tenants take turns for the slots: one tenant with many requests, and many with one each.
fn turns(criterion: &mut Criterion) {
    const N_REQUESTS: usize = 250;
    for n_tenants in [1, N_REQUESTS] {
        let id = BenchmarkId::new("whole jobs of tenants", n_tenants);
        let requests = move |_| (0..N_REQUESTS).map(|n| (caller(n % n_tenants), jobs(4, None))).collect();
        let n_jobs = 4 * N_REQUESTS;
        bench(criterion, id, n_jobs, n_jobs, requests, async |rig, requests| rig.run(requests).await);
    }
}

fn quick() -> Criterion {
    Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3))
}

criterion_group! { name = benches; config = quick(); targets = verdicts, whole_jobs, turns }
criterion_main!(benches);
