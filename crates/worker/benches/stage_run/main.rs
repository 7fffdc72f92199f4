//! What apalis costs per run of a stage: CPU time of the process from the hand-out of a burst of runs until all have
//! reported, through apalis and in plain tasks, with our runner and with nothing to do.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod silent;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apalis::layers::WorkerBuilderExt as _;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quillwork_app::engine::{self, Engine, EngineConfig, EngineThread, Funds, StageRun};
use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::{Fetch, Fetched};
use quillwork_app::ports::provider::{Progress, ProviderError};
use quillwork_app::ports::search::Findings;
use quillwork_app::ports::writer::{Article, Brief, Writer};
use quillwork_domain::envelope::Meta;
use quillwork_domain::id::{Attempt, JobId};
use quillwork_domain::job::JobSubmitted;
use quillwork_domain::payload::Payload;
use quillwork_domain::plan::{Backoff, Plan, PlannedStage, StageIndex};
use quillwork_worker::backend::EngineBackend;
use quillwork_worker::context::StageContext;
use quillwork_worker::runner::Runner;
use quillwork_worker::stage::{Stage, StageError, StageHandler, StageInput, StageOutput};
use quillwork_worker::stages::{self, Providers};
use quillwork_worker::start::{Bulkhead, Workers};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

/// The slots of a handler, and the largest burst.
const SLOTS: usize = 256;

/// How runs get from the channel to their end.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As in production: the backend, apalis, a task for each run, the runner.
    Apalis,
    /// The runner in tasks of a set, behind a semaphore.
    Tasks,
    /// Apalis with nothing to do.
    ApalisNothing,
    /// A task for each run with nothing to do.
    TasksNothing,
}

/// Counts runs that ended, and tells when a burst is over.
#[derive(Default)]
struct Ended {
    left: AtomicUsize,
    all: Notify,
}

impl Ended {
    fn one(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.notify_one();
        }
    }
}

/// The echo stage, counted.
struct Counted {
    echo: Arc<dyn Stage>,
    ended: Arc<Ended>,
}

#[async_trait]
impl Stage for Counted {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let output = self.echo.run(input, cx).await;
        self.ended.one();
        output
    }
}

/// What echo does not need.
struct Nobody;

#[async_trait]
impl Fetch for Nobody {
    async fn fetch(&self, _: &str, _: &Call) -> Result<Fetched, ProviderError> {
        unreachable!("echo does not read")
    }
}

#[async_trait]
impl Writer for Nobody {
    async fn write(&self, _: &Brief, _: &Findings, _: &dyn Progress) -> Result<Article, ProviderError> {
        unreachable!("echo does not write")
    }
}

fn echo() -> StageHandler {
    let nobody = Arc::new(Nobody);
    let providers = Providers {
        services: BTreeMap::new(),
        searches: BTreeMap::new(),
        default_searches: vec![],
        fetch: nobody.clone(),
        writer: nobody,
        model: None,
        prompts: BTreeMap::new(),
    };
    stages::all(providers).into_iter().find(|handler| &*handler.name == "echo").unwrap()
}

/// Workers that wait for runs, and an engine that keeps what they report.
struct Rig {
    thread: EngineThread,
    silence: CancellationToken,
    ended: Arc<Ended>,
    runs: UnboundedSender<StageRun>,
    workers: JoinSet<()>,
}

impl Rig {
    async fn start(way: Way) -> Self {
        let silence = CancellationToken::new();
        let config = EngineConfig {
            worker: "bench".into(),
            lease: Duration::from_secs(600),
            max_pending: 1,
            max_backlog: 1,
            max_batch: 1,
            cache_bytes: 0,
        };
        let writer = Box::new(silent::Silent(silence.clone()));
        let reader = Arc::new(silent::Silent(silence.clone()));
        let thread = engine::start(config, writer, reader, vec![]).await.unwrap();
        let ended = Arc::new(Ended::default());
        let (runs, workers) = start_workers(way, &thread.engine(), &ended);
        Self { thread, silence, ended, runs, workers }
    }

    /// Hands out runs and waits until all have ended; the CPU time that it took.
    async fn burst(&self, runs: Vec<StageRun>) -> Duration {
        self.ended.left.store(runs.len(), Ordering::Release);
        let before = cpu_time();
        for run in runs {
            self.runs.send(run).unwrap();
        }
        self.ended.all.notified().await;
        cpu_time().saturating_sub(before)
    }

    async fn end(mut self) {
        drop(self.runs);
        while self.workers.join_next().await.is_some() {}
        self.thread.engine().stop();
        self.silence.cancel();
        self.thread.join().await.unwrap();
    }
}

fn start_workers(way: Way, engine: &Engine, ended: &Arc<Ended>) -> (UnboundedSender<StageRun>, JoinSet<()>) {
    let echo = echo();
    let stage = Arc::new(Counted { echo: echo.stage.clone(), ended: ended.clone() });
    let runner = Arc::new(Runner {
        engine: Arc::new(engine.clone()),
        stage: stage.clone(),
        start_rate: None,
        budgets: None,
    });
    let mut workers = JoinSet::new();
    match way {
        Way::Apalis => {
            let handler = StageHandler { stage, ..echo };
            let (workers, mut ports) =
                Workers::new(vec![Bulkhead { handler, slots: SLOTS, start_rate: None }]);
            (ports.remove(0).runs, workers.start(engine))
        }
        Way::Tasks => {
            let (runs, queue) = mpsc::unbounded_channel();
            workers.spawn(in_tasks(queue, move |run| {
                let runner = runner.clone();
                async move { runner.run(run).await }
            }));
            (runs, workers)
        }
        Way::ApalisNothing => {
            let (runs, queue) = mpsc::unbounded_channel();
            let worker = WorkerBuilder::new("nothing")
                .backend(EngineBackend::new(queue))
                .data(ended.clone())
                .concurrency(SLOTS)
                .build(nothing);
            workers.spawn(async move { worker.run().await.unwrap() });
            (runs, workers)
        }
        Way::TasksNothing => {
            let (runs, queue) = mpsc::unbounded_channel();
            let ended = ended.clone();
            workers.spawn(in_tasks(queue, move |run| nothing(run, Data::new(ended.clone()))));
            (runs, workers)
        }
    }
}

async fn nothing(run: StageRun, ended: Data<Arc<Ended>>) {
    drop(run);
    ended.one();
}

/// What a worker without apalis would be.
async fn in_tasks<F>(mut queue: UnboundedReceiver<StageRun>, work: impl Fn(StageRun) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(SLOTS));
    let mut running = JoinSet::new();
    while let Some(run) = queue.recv().await {
        let slot = slots.clone().acquire_owned().await.unwrap();
        let work = work(run);
        running.spawn(async move {
            work.await;
            drop(slot);
        });
        while running.try_join_next().is_some() {}
    }
    running.join_all().await;
}

/// Runs of the second stage of as many jobs, as the engine hands them out.
fn stage_runs(n_runs: usize) -> Vec<StageRun> {
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
    let output = serde_json::value::to_raw_value(&"x".repeat(1_022)).unwrap();
    let output = Payload::inline(output).unwrap();
    let run = |n: usize| {
        let submitted = JobSubmitted::new(format!("bench {n}"), "echo".into(), plan.clone());
        let id = Uuid::now_v7();
        StageRun {
            job: JobId(id),
            stage: StageIndex(1),
            attempt: Attempt(1),
            submitted: Arc::new(submitted),
            outputs: vec![output.clone()],
            retries: 0,
            round: 1,
            rounds: 1,
            feedback: vec![],
            steps: vec![],
            funds: Funds::default(),
            meta: Meta {
                actor: "client".into(),
                tenant: "default".into(),
                correlation_id: id,
                causation_id: None,
                traceparent: None,
            },
            cancel: CancellationToken::new(),
        }
    };
    (0..n_runs).map(run).collect()
}

/// Of all threads of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

fn runtime(n_threads: usize) -> Runtime {
    match n_threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        n => tokio::runtime::Builder::new_multi_thread().worker_threads(n).enable_all().build().unwrap(),
    }
}

fn stage_run(criterion: &mut Criterion) {
    for n_threads in [1, 2] {
        for burst in [1, SLOTS] {
            let group = format!("stage_run, {n_threads} threads, bursts of {burst}");
            compare(criterion, &group, n_threads, burst);
        }
    }
}

/// With spans and a filter as the server has them by default, and the lines thrown away.
fn stage_run_with_logs(criterion: &mut Criterion) {
    let filter = EnvFilter::new("info");
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::sink);
    logs.json().flatten_event(true).with_span_list(false).init();
    compare(criterion, "stage_run with logs, 2 threads", 2, SLOTS);
}

fn compare(criterion: &mut Criterion, name: &str, n_threads: usize, burst: usize) {
    let runtime = runtime(n_threads);
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    for way in [Way::Apalis, Way::Tasks, Way::ApalisNothing, Way::TasksNothing] {
        group.bench_function(BenchmarkId::from_parameter(format!("{way:?}")), |bencher| {
            bencher.iter_custom(|n_runs| runtime.block_on(measure(way, burst, n_runs)));
        });
    }
    group.finish();
}

/// The CPU time of `n_runs` runs, of which a whole number of bursts was made.
async fn measure(way: Way, burst: usize, n_runs: u64) -> Duration {
    let rig = Rig::start(way).await;
    rig.burst(stage_runs(burst)).await;
    let n_bursts = n_runs.div_ceil(burst as u64);
    let mut took = Duration::ZERO;
    for _ in 0..n_bursts {
        took += rig.burst(stage_runs(burst)).await;
    }
    rig.end().await;
    took.mul_f64(n_runs as f64 / (n_bursts * burst as u64) as f64)
}

fn quick() -> Criterion {
    Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3))
}

criterion_group! { name = benches; config = quick(); targets = stage_run, stage_run_with_logs }
criterion_main!(benches);
