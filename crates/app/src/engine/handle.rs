//! The way into the engine: what callers hold.

use std::sync::Arc;
use std::time::Duration;

use quillwork_domain::envelope::Meta;
use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::job::{Command, JobSubmitted, Rejection, Status};
use quillwork_domain::plan::StageIndex;
use quillwork_domain::queue::{Control, QueueCommand};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::draft::DraftBoard;
use crate::engine::admission::Admission;
use crate::engine::archive::ArchiveRequest;
use crate::engine::content::ContentRequest;
use crate::engine::hints::Hints;
use crate::engine::work::{FinishedStep, Outcome, RecordedStep, Report};
use crate::feed::Feed;
use crate::ports::store::{IdempotencyKey, Notice};
use crate::progress::ProgressBoard;

/// Who asks, and under which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub actor: Arc<str>,
    pub tenant: Arc<str>,
    pub correlation_id: Uuid,
    pub traceparent: Option<String>,
}

impl Caller {
    pub(crate) fn meta(&self) -> Meta {
        Meta {
            actor: self.actor.clone(),
            tenant: self.tenant.clone(),
            correlation_id: self.correlation_id,
            causation_id: None,
            traceparent: self.traceparent.clone(),
        }
    }
}

/// A job to create, under an id that the caller minted.
#[derive(Clone, Debug)]
pub struct Submission {
    pub id: JobId,
    pub job: Arc<JobSubmitted>,
}

/// A command was obeyed, and what it did is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub job: JobId,
    pub status: Status,
    /// A read model that has this position shows the effect.
    pub position: Position,
    pub version: Version,
    /// The idempotency key was used before; this is the job it made then.
    pub replayed: bool,
}

/// A command was not obeyed, and nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("the idempotency key {0:?} was used for another request body")]
    KeyReused(String),
    #[error("too many commands wait to be committed")]
    Busy { retry_after: Duration },
    #[error("{limit} jobs wait or run already, the most that are allowed (limits.max_backlog)")]
    BacklogFull { limit: u64, retry_after: Duration },
    #[error("{message}")]
    Unavailable { message: String, retry_after: Duration },
    /// Whether the command took effect is not known: ask again with the same idempotency key.
    #[error("the service is shutting down")]
    ShuttingDown,
}

/// One command for one job.
pub(crate) struct Item {
    pub(crate) job: JobId,
    pub(crate) command: Command,
    pub(crate) key: Option<IdempotencyKey>,
}

/// Commands that came together and are answered together.
pub(crate) struct Request {
    pub(crate) caller: Caller,
    pub(crate) items: Vec<Item>,
    pub(crate) reply: oneshot::Sender<Vec<Result<Accepted, Refusal>>>,
    /// Given back when the request is answered.
    pub(crate) _admission: tokio::sync::OwnedSemaphorePermit,
}

/// A command to the queues was obeyed, or it is so already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controlled {
    pub control: Control,
    /// A read model that has this position shows the effect.
    pub position: Position,
}

/// A command to the queues.
pub(crate) struct ControlRequest {
    pub(crate) caller: Caller,
    pub(crate) command: QueueCommand,
    pub(crate) reply: oneshot::Sender<Result<Controlled, Refusal>>,
}

/// What the process wants of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    #[default]
    Working,
    /// Starts no more stages.
    Draining,
    /// Gives running stages back.
    Releasing,
    /// Commits what is there and ends.
    Stopping,
}

/// Cheap to clone; shared by everyone who gives commands.
#[derive(Clone)]
pub struct Engine {
    pub(crate) requests: mpsc::UnboundedSender<Request>,
    pub(crate) controlling: mpsc::Sender<ControlRequest>,
    pub(crate) noting: mpsc::UnboundedSender<ContentRequest>,
    pub(crate) archiving: mpsc::Sender<ArchiveRequest>,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
    pub(crate) hints: Hints,
    pub(crate) admission: Admission,
    pub(crate) mode: Arc<watch::Sender<Mode>>,
    pub(crate) running: watch::Receiver<usize>,
    pub(crate) trouble: watch::Receiver<Option<String>>,
    pub(crate) feed: Feed,
    pub(crate) progress: ProgressBoard,
    pub(crate) drafts: DraftBoard,
}

impl Engine {
    /// Creates jobs, and answers each when it is durable, in the order given.
    pub async fn submit(&self, caller: Caller, jobs: Vec<Submission>) -> Vec<Result<Accepted, Refusal>> {
        let bytes = jobs.iter().map(|submission| weigh(&submission.job)).sum();
        let items = jobs
            .into_iter()
            .map(|Submission { id, job }| {
                let key = job.idempotency_key.clone();
                let key = key.map(|key| IdempotencyKey { tenant: caller.tenant.as_ref().to_owned(), key });
                Item { job: id, command: Command::Submit(job), key }
            })
            .collect();
        self.request(caller, items, bytes).await
    }

    /// Stops a job; a stage that runs is told to end.
    pub async fn cancel(
        &self,
        caller: Caller,
        job: JobId,
        reason: Option<String>,
    ) -> Result<Accepted, Refusal> {
        self.one(caller, job, Command::Cancel { reason }).await
    }

    /// Sets a failed or cancelled job going again.
    pub async fn retry(&self, caller: Caller, job: JobId) -> Result<Accepted, Refusal> {
        self.one(caller, job, Command::Retry).await
    }

    /// Says how much a job may cost, in millionths of a US dollar, over all that it has cost. If that is what it waits
    /// for, it goes on.
    pub async fn set_budget(
        &self,
        caller: Caller,
        job: JobId,
        max_cost_micros: u64,
    ) -> Result<Accepted, Refusal> {
        self.one(caller, job, Command::SetBudget { max_cost_micros }).await
    }

    /// Lets a paused job try again.
    pub async fn resume(&self, caller: Caller, job: JobId) -> Result<Accepted, Refusal> {
        self.one(caller, job, Command::Resume).await
    }

    /// Pauses, resumes or limits the queue of a handler, in all processes.
    pub async fn control(&self, caller: Caller, command: QueueCommand) -> Result<Controlled, Refusal> {
        let (reply, verdict) = oneshot::channel();
        let request = ControlRequest { caller, command, reply };
        match self.controlling.try_send(request) {
            Ok(()) => verdict.await.unwrap_or(Err(Refusal::ShuttingDown)),
            Err(TrySendError::Full(_)) => Err(Refusal::Busy { retry_after: Duration::from_secs(1) }),
            Err(TrySendError::Closed(_)) => Err(Refusal::ShuttingDown),
        }
    }

    /// Lets the engine know what another process wrote.
    pub(crate) fn notice(&self, notice: Notice) {
        self.hints.give(notice);
    }

    async fn one(&self, caller: Caller, job: JobId, command: Command) -> Result<Accepted, Refusal> {
        let item = Item { job, command, key: None };
        let mut verdicts = self.request(caller, vec![item], 0).await;
        verdicts.pop().unwrap_or(Err(Refusal::ShuttingDown))
    }

    async fn request(
        &self,
        caller: Caller,
        items: Vec<Item>,
        bytes: usize,
    ) -> Vec<Result<Accepted, Refusal>> {
        let n_items = items.len();
        let refuse = |refusal: Refusal| vec![Err(refusal); n_items];
        let admission = match self.admission.admit(n_items, bytes) {
            Ok(admission) => admission,
            Err(refusal) => return refuse(refusal),
        };
        let (reply, verdicts) = oneshot::channel();
        let request = Request { caller, items, reply, _admission: admission };
        if self.requests.send(request).is_err() {
            return refuse(Refusal::ShuttingDown);
        }
        verdicts.await.unwrap_or_else(|_| refuse(Refusal::ShuttingDown))
    }

    /// Reports how an attempt ended. Its slot is free from here on.
    pub fn finish(&self, job: JobId, stage: StageIndex, attempt: Attempt, outcome: Outcome) {
        // Without an engine nobody can keep the outcome; the lease runs out and the stage runs again.
        let _ = self.reports.send(Report::Finished { job, stage, attempt, outcome });
    }

    /// Records a finished step; answers once it is durable. None if the attempt no longer counts.
    pub async fn record_step(
        &self,
        job: JobId,
        stage: StageIndex,
        attempt: Attempt,
        step: FinishedStep,
    ) -> Option<RecordedStep> {
        let (reply, durable) = oneshot::channel();
        let report = Report::Step { job, stage, attempt, step, reply };
        self.reports.send(report).ok()?;
        durable.await.ok().flatten()
    }

    /// Where committed events appear.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Where running stages say how far they are.
    pub fn progress(&self) -> &ProgressBoard {
        &self.progress
    }

    /// Where running stages write what they write.
    pub fn drafts(&self) -> &DraftBoard {
        &self.drafts
    }

    /// How many stages run in this process.
    pub fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Why nothing can be committed at the moment, if so. The engine keeps trying and clears this by itself.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// False once the engine has ended.
    pub fn is_alive(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Starts no more stages, and waits until none runs.
    pub async fn drain(&self) {
        self.enter(Mode::Draining);
        // An engine that is gone runs nothing.
        let _ = self.running.clone().wait_for(|n_running| *n_running == 0).await;
    }

    /// Gives running stages back to the queue, and waits until none runs.
    pub async fn release(&self) {
        self.enter(Mode::Releasing);
        let _ = self.running.clone().wait_for(|n_running| *n_running == 0).await;
    }

    /// Ends the engine once it has committed what it was given.
    pub fn stop(&self) {
        self.enter(Mode::Stopping);
    }

    fn enter(&self, mode: Mode) {
        self.mode.send_if_modified(|current| {
            let advance = mode > *current;
            if advance {
                *current = mode;
            }
            advance
        });
    }
}

fn weigh(job: &JobSubmitted) -> usize {
    let labels: usize = job.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    job.topic.len() + labels + job.settings.as_ref().map_or(0, |settings| settings.get().len())
}
