//! The storage ports' contract as tests. Every adapter runs all of them, on a store of its own for each.

mod archive;
mod leases;
mod log;
mod queue;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Batch, Blob, Claim, CommitError, Entry, Head, IdempotencyKey, KeyOwner, LogReader, LogWriter, Task,
    TaskKey, TaskWrite,
};
use quillwork_domain::chain;
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::{JobId, Version};
use quillwork_domain::job::{Event, JobCancelled};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use uuid::Uuid;

pub(crate) use archive::*;
pub(crate) use leases::*;
pub(crate) use log::*;
pub(crate) use queue::*;
pub(crate) use turns::*;

/// Longer than any test.
pub(crate) const TTL: Duration = Duration::from_secs(600);

/// A store that can be closed and opened again, as by another start of the process.
#[async_trait]
pub(crate) trait Fixture: Send + Sync {
    async fn open(&self) -> (Box<dyn LogWriter>, Arc<dyn LogReader>);
}

/// Makes a test of every case for the fixture that `$fixture` evaluates to.
macro_rules! conforms {
    ($fixture:expr) => {
        conforms!($fixture; an_empty_log, appending_and_reading, the_stream_of_the_queues, the_streams_of_articles, paging, reading_some_kinds, a_moved_head,
            a_version_that_exists, blobs, keys, everything_survives_reopening,
            streams_leave_the_log, a_refused_removal_leaves_everything,
            a_lost_task_voids_the_batch, every_lost_task_is_named, holders, due_times, the_queue_can_be_replaced,
            the_queue_number, a_batch_without_events, locking,
            ready_order, tenants_take_turns, the_last_turn_is_remembered, a_crowd_hides_nobody,
            leases_and_orphans, a_lease_that_is_given_back, held_by_handler);
    };
    ($fixture:expr; $($case:ident),*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let fixture = $fixture;
                $crate::conformance::$case(&fixture).await;
            }
        )*
    };
}
pub(crate) use conforms;

pub(crate) fn job(id: u128) -> JobId {
    JobId(Uuid::from_u128(id))
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn key(id: u128) -> TaskKey {
    TaskKey { job: job(id), stage: StageIndex(0) }
}

pub(crate) fn task(id: u128, priority: i16, run_at: i64) -> Task {
    Task { key: key(id), handler: "echo".into(), tenant: "default".into(), priority, run_at: at(run_at) }
}

pub(crate) fn waiting(task: Task) -> TaskWrite {
    TaskWrite::Insert { task, lease: None }
}

/// When everything is recorded that [`entries`] makes: some tasks of the tests are due then, others later.
const RECORDED_AT: i64 = 4;

/// Entries that follow `head`, one for each (job, version).
pub(crate) fn entries(head: Head, events: &[(u128, u64)]) -> Vec<Entry> {
    let mut head = head;
    let entry = |(id, version): &(u128, u64)| {
        let event = Event::JobCancelled(JobCancelled { reason: Some(format!("{id}/{version}")) });
        let encoded = wire::encode(&event).unwrap();
        let mut recorded = Recorded {
            position: head.position.next(),
            stream: job(*id).into(),
            version: Version(*version),
            event_id: Uuid::now_v7(),
            kind: encoded.kind.into(),
            schema_version: encoded.schema_version,
            data: encoded.data,
            meta: Meta {
                actor: "test".into(),
                tenant: "default".into(),
                correlation_id: Uuid::from_u128(7),
                causation_id: Some(Uuid::from_u128(8)),
                traceparent: Some("00-00000000000000000000000000000001-0000000000000001-01".into()),
            },
            recorded_at: at(RECORDED_AT),
            hash: chain::GENESIS,
        };
        recorded.hash = chain::link(&head.hash, &recorded);
        head = Head { position: recorded.position, hash: recorded.hash };
        Entry { recorded, event }
    };
    events.iter().map(entry).collect()
}

pub(crate) fn recorded(entries: &[Entry]) -> Vec<Recorded> {
    entries.iter().map(|entry| entry.recorded.clone()).collect()
}

/// Commits events and tasks after the current head.
pub(crate) async fn commit(
    writer: &mut dyn LogWriter,
    events: &[(u128, u64)],
    tasks: Vec<TaskWrite>,
) -> Result<Vec<Entry>, CommitError> {
    let head = writer.survey().await.unwrap().head;
    let batch = Batch { entries: entries(head, events), tasks, ..Batch::default() };
    writer.commit(head, &batch).await.map(|()| batch.entries)
}

/// What one handler's claim finds, as numbers of jobs.
async fn ready(writer: &mut dyn LogWriter, now: i64) -> Vec<u128> {
    ids(&claim(writer, "", 100, now).await)
}

/// What a claim of "echo" finds.
async fn claim(writer: &mut dyn LogWriter, after: &str, limit: usize, now: i64) -> Vec<Task> {
    let claims = [Claim { handler: "echo".into(), after: after.into(), limit }];
    let mut ready = writer.ready(&claims, at(now)).await.unwrap();
    assert_eq!(ready.len(), 1);
    ready.remove(0)
}

fn ids(tasks: &[Task]) -> Vec<u128> {
    tasks.iter().map(|task| task.key.job.0.as_u128()).collect()
}

fn blob(bytes: &[u8]) -> Blob {
    Blob {
        sha256: Sha256Digest::of(bytes),
        bytes: bytes.len() as u64,
        zstd: zstd::bulk::compress(bytes, 3).unwrap(),
    }
}

fn idempotency_key(key: &str) -> IdempotencyKey {
    IdempotencyKey { tenant: "default".into(), key: key.into() }
}

fn owner(id: u128) -> KeyOwner {
    KeyOwner { job: job(id), digest: Sha256Digest::of(&id.to_be_bytes()) }
}

/// Asserts that no part of a refused batch is there.
async fn nothing_of(writer: &mut dyn LogWriter, reader: &dyn LogReader, batch: &Batch) {
    for entry in &batch.entries {
        let stream = reader.stream(entry.recorded.stream, Version(0), 100).await.unwrap();
        assert!(!stream.iter().any(|event| event.event_id == entry.recorded.event_id));
    }
    for blob in &batch.blobs {
        assert_eq!(reader.blob(blob.sha256).await.unwrap(), None);
    }
    for (key, _) in &batch.keys {
        assert_eq!(writer.owners(std::slice::from_ref(key)).await.unwrap(), [None]);
    }
    for write in &batch.tasks {
        if let TaskWrite::Insert { task, .. } = write {
            let tasks = reader.tasks(None, 100).await.unwrap();
            assert!(!tasks.iter().any(|(stored, _)| stored.key == task.key));
        }
    }
}
