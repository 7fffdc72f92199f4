//! Starting one apalis worker per stage handler.

use std::sync::Arc;

use apalis::layers::WorkerBuilderExt as _;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use quillwork_app::budgets::TenantBudgets;
use quillwork_app::engine::{Engine, Outcome, StageRun, WorkerPort};
use quillwork_domain::job::ErrorClass;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

use crate::backend::EngineBackend;
use crate::runner::Runner;
use crate::stage::StageHandler;
use crate::start_rate::StartRate;

/// A handler with its bulkhead: at most `slots` of it run at once.
pub struct Bulkhead {
    pub handler: StageHandler,
    pub slots: usize,
    /// Absent for as often as there is work.
    pub start_rate: Option<Arc<StartRate>>,
}

/// Workers that wait for an engine.
pub struct Workers {
    bulkheads: Vec<(Bulkhead, UnboundedReceiver<StageRun>)>,
    budgets: Option<Arc<TenantBudgets>>,
}

impl Workers {
    /// The workers, and the ports through which an engine feeds them.
    pub fn new(bulkheads: Vec<Bulkhead>) -> (Self, Vec<WorkerPort>) {
        let mut ports = Vec::with_capacity(bulkheads.len());
        let mut waiting = Vec::with_capacity(bulkheads.len());
        for bulkhead in bulkheads {
            let (runs, queue) = mpsc::unbounded_channel();
            ports.push(WorkerPort { handler: bulkhead.handler.name.clone(), slots: bulkhead.slots, runs });
            waiting.push((bulkhead, queue));
        }
        (Self { bulkheads: waiting, budgets: None }, ports)
    }

    /// The same, where tenants are held to what they may spend in a day.
    pub fn with_budgets(self, budgets: Option<Arc<TenantBudgets>>) -> Self {
        Self { budgets, ..self }
    }

    /// Starts them. Each ends when the engine has ended and its last stage is done.
    pub fn start(self, engine: &Engine) -> JoinSet<()> {
        let engine = Arc::new(engine.clone());
        let mut workers = JoinSet::new();
        for (bulkhead, queue) in self.bulkheads {
            let runner = Arc::new(Runner {
                engine: engine.clone(),
                stage: bulkhead.handler.stage,
                start_rate: bulkhead.start_rate,
                budgets: self.budgets.clone(),
            });
            let worker = WorkerBuilder::new(&*bulkhead.handler.name)
                .backend(EngineBackend::new(queue))
                .data(runner)
                .concurrency(bulkhead.slots)
                .build(run_stage);
            workers.spawn(async move {
                if let Err(error) = worker.run().await {
                    tracing::error!(handler = %bulkhead.handler.name, %error, "a worker ended");
                }
            });
        }
        workers
    }
}

/// On a task of its own, so that the stages of one worker use all cores.
async fn run_stage(run: StageRun, Data(runner): Data<Arc<Runner>>) {
    let (job, stage, attempt) = (run.job, run.stage, run.attempt);
    let running = tokio::spawn({
        let runner = runner.clone();
        async move { runner.run(run).await }
    });
    if let Err(error) = running.await {
        // The runner itself failed. Without a report its slot would stay taken while the process lives.
        tracing::error!(%job, %error, "an attempt ended without a report");
        let message = format!("the runner failed: {error}");
        runner.engine.finish(
            job,
            stage,
            attempt,
            Outcome::Failed { class: ErrorClass::Panic, message, retry_after: None },
        );
    }
}
