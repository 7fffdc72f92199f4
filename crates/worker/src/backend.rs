//! Our apalis backend: a queue that the engine fills with stages it has started.
//!
//! Claiming, leases, retries and acknowledgement are the engine's, in the commits of the log. What is left for a
//! backend is to hand over, in order and without delay; it has nothing that could fail.

use std::convert::Infallible;
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use quillwork_app::engine::StageRun;
use tokio::sync::mpsc::UnboundedReceiver;
use tower::layer::util::Identity;
use uuid::Uuid;

/// Bounded by the engine's slots. Ends when the engine does.
#[derive(Debug)]
pub struct EngineBackend {
    runs: UnboundedReceiver<StageRun>,
}

impl EngineBackend {
    pub fn new(runs: UnboundedReceiver<StageRun>) -> Self {
        Self { runs }
    }
}

impl Backend for EngineBackend {
    type Task = Task<StageRun>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        self.runs.poll_recv(cx).map(|run| match run {
            Some(run) => {
                let id = TaskId::from_uuid(run.job.0);
                Some(Ok(TaskBuilder::new(run).task_id(id).build()))
            }
            None => {
                // The end of a backend alone does not end its apalis worker. One that is stopped already stays so.
                let _ = worker.stop();
                None
            }
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for EngineBackend {
    type Args = StageRun;
    type Id = Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
