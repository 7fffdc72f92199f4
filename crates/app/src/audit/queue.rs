//! How the queue and the idempotency keys follow from the log.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use quillwork_domain::id::{JobId, Position, StreamId};
use quillwork_domain::job::{Event, JobSubmitted};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::wire::DecodeError;
use tokio::sync::mpsc;

use crate::audit::content::rating_key;
use crate::audit::jobs::Jobs;
use crate::ports::store::{Happened, IdempotencyKey, KeyOwner, LogReader, StoreError, Task, TaskKey};

/// Events read from the log at a time.
pub(super) const PAGE: usize = 4_096;

/// Pages that wait to be folded.
const PAGES_AHEAD: usize = 2;

/// Pages that are read at once.
pub(super) const PAGES_READING: usize = 4;

/// What the queue and the keys must be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DerivedQueue {
    /// By key.
    pub tasks: Vec<DerivedTask>,
    /// In log order.
    pub keys: Vec<(IdempotencyKey, KeyOwner)>,
    /// How many events it follows from.
    pub events: u64,
}

/// A task as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedTask {
    pub task: Task,
    /// A worker holds it. Which lease that was, the log does not say.
    pub held: bool,
}

/// The queue cannot be derived.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("event {position} cannot be read")]
    Undecodable { position: Position, source: DecodeError },
}

/// Folds the whole log into the queue and the idempotency keys.
pub async fn derive_queue(reader: Arc<dyn LogReader>) -> Result<DerivedQueue, DeriveError> {
    let mut jobs = Jobs::default();
    let mut keys = Vec::new();
    let mut position = Position::START;
    let (pages, mut read) = mpsc::channel(PAGES_AHEAD);
    let reading = tokio::spawn(read_ahead(reader, PAGE, pages));
    while let Some(page) = read.recv().await {
        for Happened { position: at, stream, tenant, recorded_at, event } in page {
            position = at;
            let event = event.map_err(|source| DeriveError::Undecodable { position, source })?;
            if let (StreamId::Content(article), Event::Content(event)) = (stream, &event) {
                keys.extend(rating_key(&tenant, article, event));
            }
            let Some(job) = stream.job() else { continue };
            if let Event::JobSubmitted(submitted) = &event {
                keys.extend(key_of(&tenant, job, submitted));
            }
            jobs.fold(job, &event, recorded_at, &tenant);
        }
    }
    // The pages ended, which need not be the end of the log.
    reading.await.map_err(|error| StoreError::Unavailable(format!("the reading broke off: {error}")))??;
    Ok(DerivedQueue { tasks: tasks_of(&jobs), keys, events: position.0 })
}

/// Sends the pages of the log until it ends, or nobody wants any more.
///
/// While a page is taken apart the store is already busy with the next ones, each of which begins where a full page
/// without holes would end. If a page reached further, what it had is left out of the next; if not as far, the next ones
/// are read again. Where a fifth or more of the events is missing, pages reach too far for that and are read one by one.
pub(super) async fn read_ahead(
    reader: Arc<dyn LogReader>,
    limit: usize,
    pages: mpsc::Sender<Vec<Happened>>,
) -> Result<(), StoreError> {
    let read = |after: Position| {
        let reader = reader.clone();
        (after, tokio::spawn(async move { reader.replay(after, limit).await }))
    };
    let mut sent = Position::START;
    let mut reading = VecDeque::new();
    let mut at_once = PAGES_READING;
    loop {
        while reading.len() < at_once {
            let full = |(after, _): &(Position, _)| Position(after.0.saturating_add(limit as u64));
            reading.push_back(read(reading.back().map_or(sent, full).max(sent)));
        }
        let Some((after, page)) = reading.pop_front() else { return Ok(()) };
        if after > sent {
            reading.clear();
            continue;
        }
        let page =
            page.await.map_err(|error| StoreError::Unavailable(format!("a read broke off: {error}")))??;
        let Some(last) = page.last().map(|event| event.position) else { return Ok(()) };
        let n_sent = page.partition_point(|event| event.position <= sent);
        sent = sent.max(last);
        let is_sparse = last.0 - after.0 > (limit + limit / 4) as u64;
        if is_sparse {
            reading.clear();
        }
        at_once = if is_sparse { 1 } else { PAGES_READING };
        if pages.send(page.into_iter().skip(n_sent).collect()).await.is_err() {
            return Ok(());
        }
    }
}

/// The tasks of all jobs, by key.
pub(super) fn tasks_of(jobs: &Jobs) -> Vec<DerivedTask> {
    let mut handlers: HashMap<&str, Arc<str>> = HashMap::new();
    let mut tasks: Vec<DerivedTask> = jobs
        .live()
        .flat_map(|(id, live)| live.tasks.iter().map(move |task| (id, live, task)))
        .filter_map(|(id, live, task)| {
            let submitted = live.job.submitted.as_ref()?;
            let handler = &*live.job.planned(task.stage)?.handler;
            Some(DerivedTask {
                task: Task {
                    key: TaskKey { job: id, stage: task.stage },
                    handler: handlers.entry(handler).or_insert_with(|| handler.into()).clone(),
                    tenant: live.tenant.clone(),
                    priority: submitted.priority,
                    run_at: task.run_at,
                },
                held: task.held,
            })
        })
        .collect();
    tasks.sort_unstable_by_key(|derived| derived.task.key);
    tasks
}

/// The idempotency key of a submission, with its owner.
pub(crate) fn key_of(
    tenant: &str,
    job: JobId,
    submitted: &JobSubmitted,
) -> Option<(IdempotencyKey, KeyOwner)> {
    let key = submitted.idempotency_key.clone()?;
    // A key that came without a digest stands for any body.
    let digest = submitted.request_digest.unwrap_or(Sha256Digest([0; 32]));
    Some((IdempotencyKey { tenant: tenant.to_owned(), key }, KeyOwner { job, digest }))
}
