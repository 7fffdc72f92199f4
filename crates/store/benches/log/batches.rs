//! What is written: events as a stage of a kilobyte leaves them, each of a job of its own.

use std::time::Duration;

use quillwork_app::clock;
use quillwork_app::ports::store::{
    Batch, Entry, Head, Holder, LeaseToken, LogWriter, Task, TaskKey, TaskWrite,
};
use quillwork_domain::chain;
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::{Attempt, JobId, Version};
use quillwork_domain::job::{Event, StageCompleted};
use quillwork_domain::payload::Payload;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use uuid::Uuid;

/// A log that grows.
pub(crate) struct Appending {
    pub(crate) head: Head,
    lease: LeaseToken,
    /// The tasks of the commit before.
    held: Vec<TaskKey>,
    event: Event,
}

impl Appending {
    pub(crate) async fn begin(writer: &mut dyn LogWriter, lease: Duration) -> Self {
        let lease = writer.open_lease("bench", lease).await.unwrap();
        let head = writer.survey().await.unwrap().head;
        let output = serde_json::value::to_raw_value(&"x".repeat(1_022)).unwrap();
        let output = Payload::inline(output).unwrap();
        let completed =
            StageCompleted { stage: "first".into(), attempt: Attempt(1), output, usage: None, rework: None };
        Self { head, lease, held: vec![], event: Event::StageCompleted(completed) }
    }

    /// The next commit.
    pub(crate) fn next(&self, n_events: usize) -> Batch {
        let mut head = self.head;
        let mut batch = Batch::default();
        let gone = |key: &TaskKey| TaskWrite::Delete { key: *key, held_by: Holder::Lease(self.lease) };
        batch.tasks.extend(self.held.iter().map(gone));
        for _ in 0..n_events {
            let job = JobId(Uuid::now_v7());
            let recorded = record(head, job, &self.event);
            head = Head { position: recorded.position, hash: recorded.hash };
            batch.entries.push(Entry { recorded, event: self.event.clone() });
            batch.tasks.push(TaskWrite::Insert { task: task(job, clock::now()), lease: Some(self.lease) });
        }
        batch
    }

    /// `batch` is in the log.
    pub(crate) fn committed(&mut self, batch: &Batch) {
        if let Some(Entry { recorded, .. }) = batch.entries.last() {
            self.head = Head { position: recorded.position, hash: recorded.hash };
        }
        let held = batch.tasks.iter().filter_map(|write| match write {
            TaskWrite::Insert { task, .. } => Some(task.key),
            TaskWrite::Move { .. } | TaskWrite::Delete { .. } => None,
        });
        self.held = held.collect();
    }
}

/// The `n`th task of a queue that waits.
pub(crate) fn waiting(n: usize) -> TaskWrite {
    let run_at = Timestamp::from_millis(i64::try_from(n).unwrap());
    TaskWrite::Insert { task: task(JobId(Uuid::now_v7()), run_at), lease: None }
}

fn task(job: JobId, run_at: Timestamp) -> Task {
    let key = TaskKey { job, stage: StageIndex(0) };
    Task { key, handler: "echo".into(), tenant: "default".into(), priority: 0, run_at }
}

fn record(head: Head, job: JobId, event: &Event) -> Recorded {
    let encoded = wire::encode(event).unwrap();
    let mut recorded = Recorded {
        position: head.position.next(),
        stream: job.into(),
        version: Version(1),
        event_id: Uuid::now_v7(),
        kind: encoded.kind.into(),
        schema_version: encoded.schema_version,
        data: encoded.data,
        meta: Meta {
            actor: "worker".into(),
            tenant: "default".into(),
            correlation_id: job.0,
            causation_id: Some(job.0),
            traceparent: None,
        },
        recorded_at: clock::now(),
        hash: chain::GENESIS,
    };
    recorded.hash = chain::link(&head.hash, &recorded);
    recorded
}
