//! An engine with workers on a real store, in this process, with stages that a test controls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::budgets::TenantBudgets;
use quillwork_app::catalog::CheckSettings;
use quillwork_app::engine::{
    self, Accepted, Caller, Engine, EngineConfig, EngineThread, Refusal, Submission,
};
use quillwork_app::follow::follow;
use quillwork_app::ports::store::{LogReader, LogWatch, LogWriter};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Position, Version};
use quillwork_domain::job::{Event, Job, JobSubmitted, Rework, Spent, StagePhase, evolve};
use quillwork_domain::plan::{Backoff, Plan, PlannedStage};
use quillwork_domain::wire;
use quillwork_store::postgres::{self, Hears, PostgresConfig};
use quillwork_store::sqlite::{self, DataDir};
use quillwork_test_servers::{Database, Postgres};
use quillwork_worker::context::StageContext;
use quillwork_worker::stage::{Stage, StageError, StageHandler, StageInput, StageOutput};
use quillwork_worker::start::{Bulkhead, Workers};
use quillwork_worker::start_rate::StartRate;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a test wants a stage to do; called for each attempt.
pub type Act = Arc<dyn Fn(u32) -> Deed + Send + Sync>;

/// What one attempt does.
pub enum Deed {
    Return(&'static str),
    /// Returns how many outputs and how much feedback it was given, and in which round.
    ReturnSeen,
    /// Returns, and sends the job back to this stage.
    SendBack(&'static str),
    /// Returns this many bytes of JSON.
    ReturnBytes(usize),
    Fail(StageError),
    Panic,
    Hang,
    /// Returns once the test says so.
    ReturnWhen(watch::Receiver<bool>),
    /// Records a step, then waits for ever.
    StepThenHang,
    /// Records a step that counts how often it was done, then returns.
    StepThenReturn(Arc<AtomicUsize>),
    /// Pays for as many calls, each a step that counts how often it was made and costs this many millionths of a US
    /// dollar, then returns.
    Pay {
        n_calls: usize,
        cost_micros: u64,
        n_made: Arc<AtomicUsize>,
    },
}

struct Acting(Act);

#[async_trait]
impl Stage for Acting {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        match (self.0)(cx.attempt().0) {
            Deed::Return(text) => StageOutput::new(&text),
            Deed::ReturnSeen => StageOutput::new(&(input.outputs.len(), input.feedback.len(), cx.round())),
            Deed::SendBack(to) => {
                let rework = Rework { to: to.to_owned(), reason: "thin".to_owned() };
                Ok(StageOutput { rework: Some(rework), ..StageOutput::new(&"not good")? })
            }
            Deed::ReturnBytes(n_bytes) => StageOutput::new(&"x".repeat(n_bytes - 2)),
            Deed::Fail(error) => Err(error),
            Deed::Panic => panic!("as the test asked"),
            Deed::Hang => std::future::pending().await,
            Deed::ReturnWhen(mut said) => {
                said.wait_for(|said| *said).await.unwrap();
                StageOutput::new(&"late")
            }
            Deed::StepThenReturn(n_done) => {
                let count = || async { Ok(n_done.fetch_add(1, Ordering::SeqCst)) };
                StageOutput::new(&cx.step("count", count).await?)
            }
            Deed::Pay { n_calls, cost_micros, n_made } => {
                for call in 0..n_calls {
                    let pay = || async {
                        n_made.fetch_add(1, Ordering::SeqCst);
                        Ok(((), Some(spent(cost_micros))))
                    };
                    cx.paid_step(&format!("call-{call}"), pay).await?;
                }
                StageOutput::new(&"paid")
            }
            Deed::StepThenHang => {
                cx.step("first", || async { Ok(1) }).await?;
                std::future::pending().await
            }
        }
    }
}

fn spent(cost_micros: u64) -> Spent {
    Spent {
        provider: "main".to_owned(),
        model: "writer-1".to_owned(),
        input_tokens: 100,
        output_tokens: 200,
        cost_micros,
        prices: Some("2026-11-01".to_owned()),
    }
}

/// Handlers by name, with their slots.
#[derive(Default)]
pub struct Handlers(Vec<Bulkhead>);

impl Handlers {
    pub fn with(
        mut self,
        name: &'static str,
        slots: usize,
        act: impl Fn(u32) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let stage = Arc::new(Acting(Arc::new(act)));
        self.0.push(Bulkhead {
            handler: StageHandler {
                name: name.into(),
                default_concurrency: slots,
                check_settings: CheckSettings::new(|_| Ok(())),
                stage,
            },
            slots,
            start_rate: None,
        });
        self
    }

    /// A handler that is no act.
    pub fn handler(mut self, handler: StageHandler) -> Self {
        self.0.push(Bulkhead { slots: handler.default_concurrency, handler, start_rate: None });
        self
    }

    /// The last handler starts no faster than this.
    pub fn at(mut self, start_rate: Arc<StartRate>) -> Self {
        self.0.last_mut().unwrap().start_rate = Some(start_rate);
        self
    }
}

/// A running engine.
pub struct Stack {
    pub engine: Engine,
    pub reader: Arc<dyn LogReader>,
    thread: EngineThread,
    workers: JoinSet<()>,
    following: JoinSet<()>,
    _dir: Option<DataDir>,
}

/// Where a stack keeps its log; outlives the stacks on it.
pub enum Ground {
    Directory(TempDir),
    Database(Database),
}

impl Ground {
    /// A new data directory.
    pub fn sqlite() -> Self {
        Self::Directory(tempfile::tempdir().unwrap())
    }

    /// A new database on the shared server of this test process.
    pub fn postgres() -> Self {
        Self::Database(Postgres::shared().database())
    }

    /// A lease that is over soon enough for a test, where the loss of a process shows only by its lease.
    pub fn config(&self) -> EngineConfig {
        match self {
            Self::Directory(_) => config(),
            Self::Database(_) => EngineConfig { lease: Duration::from_secs(1), ..config() },
        }
    }

    async fn open(
        &self,
    ) -> (Box<dyn LogWriter>, Arc<dyn LogReader>, Option<Box<dyn LogWatch>>, Option<DataDir>) {
        match self {
            Self::Directory(dir) => {
                let dir = DataDir::own(dir.path()).unwrap();
                let (writer, reader) = sqlite::open(&dir).unwrap();
                (Box::new(writer), reader, None, Some(dir))
            }
            Self::Database(database) => {
                let config = postgres_config(database.url());
                let opened = postgres::open(&config, true).await.unwrap();
                let watch = postgres::watch(&config).unwrap();
                let writer = postgres::writer(&config).unwrap();
                (Box::new(writer), opened.reader, Some(Box::new(watch)), None)
            }
        }
    }
}

/// How tests use a PostgreSQL database.
pub fn postgres_config(url: &str) -> PostgresConfig {
    PostgresConfig {
        url: url.to_owned(),
        max_connections: 3,
        pooled: false,
        poll_interval: Duration::from_millis(250),
        hears: Hears::All,
    }
}

/// Makes a test of each case on SQLite and on PostgreSQL. A case takes its [`Ground`].
#[macro_export]
macro_rules! on_every_store {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $case() { super::$case($crate::stack::Ground::sqlite()).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $case() { super::$case($crate::stack::Ground::postgres()).await; })*
        }
    };
}

pub fn config() -> EngineConfig {
    EngineConfig {
        worker: "test".into(),
        lease: Duration::from_secs(10),
        max_pending: 10_000,
        max_backlog: 1_000_000,
        max_batch: 1_024,
        cache_bytes: 32 << 20,
    }
}

impl Stack {
    pub async fn start(ground: &Ground, handlers: Handlers) -> Self {
        Self::start_with(ground, handlers, ground.config(), |writer| writer).await
    }

    /// With a configuration, and with a writer that stands before the real one.
    pub async fn start_with(
        ground: &Ground,
        handlers: Handlers,
        config: EngineConfig,
        wrap: impl FnOnce(Box<dyn LogWriter>) -> Box<dyn LogWriter>,
    ) -> Self {
        Self::begin(ground, handlers, config, wrap, None).await
    }

    async fn begin(
        ground: &Ground,
        handlers: Handlers,
        config: EngineConfig,
        wrap: impl FnOnce(Box<dyn LogWriter>) -> Box<dyn LogWriter>,
        budgets: Option<Arc<TenantBudgets>>,
    ) -> Self {
        let (writer, reader, watch, dir) = ground.open().await;
        let (workers, ports) = Workers::new(handlers.0);
        let thread = engine::start(config, wrap(writer), reader.clone(), ports).await.unwrap();
        let engine = thread.engine();
        let workers = workers.with_budgets(budgets).start(&engine);
        let mut following = JoinSet::new();
        if let Some(watch) = watch {
            following.spawn(follow(watch, engine.feed().clone(), Some(engine.clone())));
        }
        Self { engine, reader, thread, workers, following, _dir: dir }
    }

    /// With tenants that are held to what they may spend in a day.
    pub async fn start_on_a_budget(ground: &Ground, handlers: Handlers, budgets: TenantBudgets) -> Self {
        Self::begin(ground, handlers, ground.config(), |writer| writer, Some(Arc::new(budgets))).await
    }

    /// Ends as by `kill -9`: nothing is said to anyone. What the dead engine still holds in memory stays unheard.
    pub fn crash(self) {
        drop(self);
    }

    /// Ends everything, giving running stages back.
    pub async fn stop(mut self) {
        tokio::time::timeout(PATIENCE, async {
            self.engine.release().await;
            self.engine.stop();
            self.thread.join().await.unwrap();
            while self.workers.join_next().await.is_some() {}
            self.following.shutdown().await;
        })
        .await
        .expect("the stack should stop");
    }

    pub async fn submit(&self, job: JobSubmitted) -> Result<Accepted, Refusal> {
        self.submit_as(caller(), job).await
    }

    pub async fn submit_as(&self, caller: Caller, job: JobSubmitted) -> Result<Accepted, Refusal> {
        let submission = Submission { id: JobId(Uuid::now_v7()), job: Arc::new(job) };
        self.engine.submit(caller, vec![submission]).await.remove(0)
    }

    /// Waits until `done` holds for the job, and returns it.
    pub async fn job_when(&self, id: JobId, done: impl Fn(&Job) -> bool) -> Job {
        let watch = self.engine.feed().watch(id);
        tokio::time::timeout(PATIENCE, async {
            loop {
                let changed = watch.changed();
                let job = self.job(id).await;
                if done(&job) {
                    return job;
                }
                changed.await;
            }
        })
        .await
        .expect("the job should get there")
    }

    pub async fn ended(&self, id: JobId) -> Job {
        self.job_when(id, Job::is_terminal).await
    }

    pub async fn job(&self, id: JobId) -> Job {
        self.history(id).await.iter().fold(Job::default(), evolve)
    }

    pub async fn history(&self, id: JobId) -> Vec<Event> {
        let stream = self.reader.stream(id.into(), Version::default(), 10_000).await.unwrap();
        stream.iter().map(|recorded| wire::decode(recorded).unwrap()).collect()
    }

    /// The kinds of a job's events, with the class of failures.
    pub async fn kinds(&self, id: JobId) -> Vec<String> {
        let history = self.history(id).await;
        let name = |event: &Event| {
            let kind = wire::kind(event);
            if let Event::StageFailed(failed) = event {
                format!("{kind} {}", failed.class)
            } else {
                kind.to_owned()
            }
        };
        history.iter().map(name).collect()
    }

    pub async fn log(&self) -> Vec<Recorded> {
        self.reader.read_all(Position::START, usize::MAX >> 1).await.unwrap()
    }
}

/// True if a stage of the job runs.
pub fn runs(job: &Job) -> bool {
    n_running(job) > 0
}

/// How many stages of the job run.
pub fn n_running(job: &Job) -> usize {
    job.stages.iter().filter(|stage| stage.phase == StagePhase::Running).count()
}

pub fn caller() -> Caller {
    Caller {
        actor: "test".into(),
        tenant: "default".into(),
        correlation_id: Uuid::now_v7(),
        traceparent: None,
    }
}

/// A job with one stage per handler: three attempts each, no wait between them.
pub fn job(handlers: &[&str]) -> JobSubmitted {
    let stage = |(index, handler): (usize, &&str)| PlannedStage {
        name: format!("stage-{index}"),
        handler: (*handler).into(),
        max_attempts: 3,
        timeout_ms: 60_000,
        backoff: Backoff { initial_ms: 0, factor: 1, max_ms: 0 },
        max_rate_limited: 5,
        max_lost: 5,
        beside_previous: false,
    };
    JobSubmitted::new(
        "topic".into(),
        "test".into(),
        Plan::new(handlers.iter().enumerate().map(stage).collect()).unwrap(),
    )
}

/// The same with groups: the stages of each inner list run at the same time.
pub fn job_of(groups: &[&[&str]]) -> JobSubmitted {
    let plain = job(&groups.concat());
    let mut stages = plain.plan.stages().to_vec();
    let besides = groups.iter().flat_map(|group| (0..group.len()).map(|place| place > 0));
    stages.iter_mut().zip(besides).for_each(|(stage, beside)| stage.beside_previous = beside);
    JobSubmitted { plan: Plan::new(stages).unwrap(), ..plain }
}
