//! The storage ports' contract as tests. Every adapter runs all of them, on a store of its own for each.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::ports::store::{
    Batch, Blob, CommitError, Entry, Head, Holder, IdempotencyKey, KeyOwner, LeaseToken, LogReader,
    LogWriter, Task, TaskKey, TaskWrite,
};
use quillwork_domain::chain;
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::{JobId, Position, Version};
use quillwork_domain::job::{Event, JobCancelled};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use uuid::Uuid;

/// A store that can be closed and opened again, as by another start of the process.
#[async_trait]
pub(crate) trait Fixture: Send + Sync {
    async fn open(&self) -> (Box<dyn LogWriter>, Arc<dyn LogReader>);
}

/// Makes a test of every case for the fixture that `$fixture` evaluates to.
macro_rules! conforms {
    ($fixture:expr) => {
        conforms!($fixture; an_empty_log, appending_and_reading, paging, a_moved_head, a_version_that_exists,
            a_lost_task_voids_the_batch, holders, ready_order, due_times, leases_and_orphans, blobs, keys,
            the_queue_can_be_replaced, everything_survives_reopening);
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

fn job(id: u128) -> JobId {
    JobId(Uuid::from_u128(id))
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn key(id: u128) -> TaskKey {
    TaskKey { job: job(id), stage: StageIndex(0) }
}

fn task(id: u128, priority: i16, run_at: i64) -> Task {
    Task { key: key(id), handler: "echo".into(), priority, run_at: at(run_at) }
}

fn waiting(task: Task) -> TaskWrite {
    TaskWrite::Insert { task, lease: None }
}

/// Entries that follow `head`, one for each (job, version).
fn entries(head: Head, events: &[(u128, u64)]) -> Vec<Entry> {
    let mut head = head;
    let entry = |(id, version): &(u128, u64)| {
        let event = Event::JobCancelled(JobCancelled { reason: Some(format!("{id}/{version}")) });
        let encoded = wire::encode(&event).unwrap();
        let mut recorded = Recorded {
            position: head.position.next(),
            job: job(*id),
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
            recorded_at: at(1_700_000_000_123),
            hash: chain::GENESIS,
        };
        recorded.hash = chain::link(&head.hash, &recorded);
        head = Head { position: recorded.position, hash: recorded.hash };
        Entry { recorded, event }
    };
    events.iter().map(entry).collect()
}

fn recorded(entries: &[Entry]) -> Vec<Recorded> {
    entries.iter().map(|entry| entry.recorded.clone()).collect()
}

/// Commits events and tasks after the current head.
async fn commit(
    writer: &mut dyn LogWriter,
    events: &[(u128, u64)],
    tasks: Vec<TaskWrite>,
) -> Result<Vec<Entry>, CommitError> {
    let head = writer.head().await.unwrap();
    let batch = Batch { entries: entries(head, events), tasks, ..Batch::default() };
    writer.commit(head, &batch).await.map(|()| batch.entries)
}

async fn ready(writer: &mut dyn LogWriter, now: i64) -> Vec<u128> {
    let tasks = writer.ready("echo", at(now), 100).await.unwrap();
    tasks.iter().map(|task| task.key.job.0.as_u128()).collect()
}

pub(crate) async fn an_empty_log(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    assert_eq!(writer.head().await.unwrap(), Head::EMPTY);
    assert_eq!(reader.head().await.unwrap(), Head::EMPTY);
    assert!(reader.read_all(Position::START, 10).await.unwrap().is_empty());
    assert!(reader.stream(job(1), 0, 10).await.unwrap().is_empty());
    assert_eq!(writer.load(&[job(1)]).await.unwrap(), [vec![]]);
    assert_eq!(writer.next_due(at(0)).await.unwrap(), None);
    assert_eq!(writer.backlog().await.unwrap(), 0);
    assert!(reader.check().await.unwrap().is_empty());
}

pub(crate) async fn appending_and_reading(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let first = commit(writer.as_mut(), &[(1, 1), (2, 1), (1, 2)], vec![]).await.unwrap();
    let second = commit(writer.as_mut(), &[(2, 2)], vec![]).await.unwrap();
    let all = recorded(&[first, second].concat());
    assert_eq!(reader.read_all(Position::START, 10).await.unwrap(), all);
    assert_eq!(reader.stream(job(1), 0, 10).await.unwrap(), [all[0].clone(), all[2].clone()]);
    assert_eq!(
        writer.load(&[job(2), job(9), job(1)]).await.unwrap(),
        [vec![all[1].clone(), all[3].clone()], vec![], vec![all[0].clone(), all[2].clone()]]
    );
    let head = Head { position: Position(4), hash: all[3].hash };
    assert_eq!(writer.head().await.unwrap(), head);
    assert_eq!(reader.head().await.unwrap(), head);
}

pub(crate) async fn paging(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let events: Vec<(u128, u64)> = (1..=25).map(|version| (1, version)).collect();
    commit(writer.as_mut(), &events, vec![]).await.unwrap();
    let mut after = Position::START;
    let mut positions = Vec::new();
    loop {
        let page = reader.read_all(after, 10).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.position;
        positions.extend(page.iter().map(|event| event.position.0));
    }
    assert_eq!(positions, (1..=25).collect::<Vec<u64>>());
    let page = reader.stream(job(1), 20, 3).await.unwrap();
    assert_eq!(page.iter().map(|event| event.version.0).collect::<Vec<_>>(), [21, 22, 23]);
}

pub(crate) async fn a_moved_head(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    commit(writer.as_mut(), &[(1, 1)], vec![]).await.unwrap();
    let batch = Batch {
        entries: entries(Head::EMPTY, &[(2, 1)]),
        tasks: vec![waiting(task(2, 0, 1))],
        blobs: vec![blob(b"stale")],
        keys: vec![(idempotency_key("k"), owner(2))],
    };
    let refused = writer.commit(Head::EMPTY, &batch).await;
    assert!(matches!(refused, Err(CommitError::HeadMoved)), "{refused:?}");
    nothing_of(&mut *writer, &*reader, &batch).await;
}

/// Asserts that no part of a refused batch is there.
async fn nothing_of(writer: &mut dyn LogWriter, reader: &dyn LogReader, batch: &Batch) {
    for entry in &batch.entries {
        let stream = reader.stream(entry.recorded.job, 0, 100).await.unwrap();
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

pub(crate) async fn a_version_that_exists(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    commit(writer.as_mut(), &[(1, 1)], vec![]).await.unwrap();
    let before = reader.head().await.unwrap();
    commit(writer.as_mut(), &[(2, 1), (1, 1)], vec![]).await.unwrap_err();
    assert_eq!(reader.head().await.unwrap(), before);
    assert!(reader.stream(job(2), 0, 10).await.unwrap().is_empty());
}

pub(crate) async fn a_lost_task_voids_the_batch(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let mine = writer.open_lease("me", at(1_000)).await.unwrap();
    let theirs = writer.open_lease("them", at(1_000)).await.unwrap();
    let held = TaskWrite::Insert { task: task(1, 0, 1), lease: Some(theirs) };
    commit(writer.as_mut(), &[(1, 1)], vec![held]).await.unwrap();
    let before = reader.head().await.unwrap();
    let late = [
        TaskWrite::Delete { key: key(1), held_by: Holder::Lease(mine) },
        TaskWrite::Delete { key: key(1), held_by: Holder::Nobody },
        TaskWrite::Move { key: key(1), held_by: Holder::Lease(mine), lease: None, run_at: Some(at(2)) },
        TaskWrite::Move { key: key(1), held_by: Holder::Nobody, lease: Some(mine), run_at: None },
        TaskWrite::Delete { key: key(9), held_by: Holder::Anyone },
    ];
    for write in late {
        let batch = Batch {
            entries: entries(before, &[(1, 2)]),
            tasks: vec![waiting(task(5, 0, 1)), write.clone()],
            blobs: vec![blob(b"late")],
            keys: vec![(idempotency_key("k"), owner(1))],
        };
        let refused = writer.commit(before, &batch).await;
        assert!(matches!(refused, Err(CommitError::Fenced(_))), "{write:?}: {refused:?}");
        assert_eq!(reader.head().await.unwrap(), before);
        nothing_of(&mut *writer, &*reader, &batch).await;
    }
}

pub(crate) async fn holders(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let lease = writer.open_lease("me", at(1_000)).await.unwrap();
    let held = |id| TaskWrite::Insert { task: task(id, 0, 1), lease: Some(lease) };
    commit(
        writer.as_mut(),
        &[(1, 1)],
        vec![held(1), held(2), waiting(task(3, 0, 1)), waiting(task(4, 0, 1))],
    )
    .await
    .unwrap();
    assert_eq!(ready(writer.as_mut(), 10).await, [3, 4]);
    assert_eq!(writer.held(lease).await.unwrap(), [key(1), key(2)]);
    assert_eq!(writer.held(LeaseToken(lease.0 + 1)).await.unwrap(), []);
    assert_eq!(writer.backlog().await.unwrap(), 4);
    let writes = vec![
        TaskWrite::Delete { key: key(1), held_by: Holder::Lease(lease) },
        TaskWrite::Move { key: key(2), held_by: Holder::Lease(lease), lease: None, run_at: Some(at(5)) },
        TaskWrite::Move { key: key(3), held_by: Holder::Nobody, lease: Some(lease), run_at: None },
        TaskWrite::Delete { key: key(4), held_by: Holder::Anyone },
    ];
    commit(writer.as_mut(), &[(1, 2)], writes).await.unwrap();
    assert_eq!(ready(writer.as_mut(), 4).await, [] as [u128; 0]);
    assert_eq!(ready(writer.as_mut(), 5).await, [2]);
    let tasks = reader.tasks(None, 10).await.unwrap();
    assert_eq!(tasks, [(task(2, 0, 5), None), (task(3, 0, 1), Some(lease))]);
    assert_eq!(reader.tasks(Some(key(2)), 10).await.unwrap(), [(task(3, 0, 1), Some(lease))]);
}

pub(crate) async fn ready_order(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let other = Task { handler: "other".into(), ..task(7, 9, 1) };
    let tasks =
        [task(3, 0, 5), task(2, 0, 5), task(1, 0, 7), task(9, 4, 9), task(8, 4, 99), task(6, -3, 1), other];
    commit(writer.as_mut(), &[(1, 1)], tasks.map(waiting).to_vec()).await.unwrap();
    assert_eq!(ready(writer.as_mut(), 10).await, [9, 2, 3, 1, 6]);
    let first: Vec<Task> = writer.ready("echo", at(10), 2).await.unwrap();
    assert_eq!(first, [task(9, 4, 9), task(2, 0, 5)]);
    let mut handlers = writer.handlers().await.unwrap();
    handlers.sort();
    assert_eq!(handlers, ["echo", "other"]);
}

pub(crate) async fn due_times(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let lease = writer.open_lease("me", at(1_000)).await.unwrap();
    let held = TaskWrite::Insert { task: task(4, 0, 15), lease: Some(lease) };
    let tasks = vec![waiting(task(1, 0, 30)), waiting(task(2, 5, 20)), waiting(task(3, 0, 10)), held];
    commit(writer.as_mut(), &[(1, 1)], tasks).await.unwrap();
    assert_eq!(writer.next_due(at(0)).await.unwrap(), Some(at(10)));
    assert_eq!(writer.next_due(at(10)).await.unwrap(), Some(at(20)));
    assert_eq!(writer.next_due(at(29)).await.unwrap(), Some(at(30)));
    assert_eq!(writer.next_due(at(30)).await.unwrap(), None);
}

pub(crate) async fn leases_and_orphans(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let dead = writer.open_lease("same name", at(100)).await.unwrap();
    let alive = writer.open_lease("same name", at(100)).await.unwrap();
    assert!(alive > dead, "tokens come from a sequence");
    let held = |id, lease| TaskWrite::Insert { task: task(id, 0, 1), lease: Some(lease) };
    let tasks = vec![held(1, dead), held(2, alive), held(3, dead), waiting(task(4, 0, 1))];
    commit(writer.as_mut(), &[(1, 1)], tasks).await.unwrap();
    assert_eq!(writer.orphans(alive, at(100), 10).await.unwrap(), []);
    assert!(writer.renew_lease(alive, at(500)).await.unwrap());

    let orphans = writer.orphans(alive, at(101), 10).await.unwrap();
    assert_eq!(orphans, [(key(1), dead), (key(3), dead)]);
    assert_eq!(writer.orphans(alive, at(101), 1).await.unwrap().len(), 1);
    assert!(!writer.renew_lease(dead, at(900)).await.unwrap(), "a lease that was given up is gone for good");
    assert_eq!(
        writer.orphans(alive, at(101), 10).await.unwrap(),
        orphans,
        "they stay until a batch releases them"
    );

    let release = |id| TaskWrite::Move {
        key: key(id),
        held_by: Holder::Lease(dead),
        lease: None,
        run_at: Some(at(101)),
    };
    commit(writer.as_mut(), &[(1, 2)], vec![release(1), release(3)]).await.unwrap();
    assert_eq!(writer.orphans(alive, at(101), 10).await.unwrap(), []);
    assert_eq!(ready(writer.as_mut(), 101).await, [4, 1, 3]);
    let next = writer.open_lease("same name", at(900)).await.unwrap();
    assert!(next > alive, "tokens are never used again");
    assert_eq!(writer.orphans(alive, at(800), 10).await.unwrap(), [], "nobody gives up on himself");
    assert_eq!(writer.orphans(next, at(800), 10).await.unwrap(), [(key(2), alive)]);
}

fn blob(bytes: &[u8]) -> Blob {
    Blob {
        sha256: Sha256Digest::of(bytes),
        bytes: bytes.len() as u64,
        zstd: zstd::bulk::compress(bytes, 3).unwrap(),
    }
}

pub(crate) async fn blobs(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let large = vec![b'x'; 5 << 20];
    for version in 1..=2 {
        let head = writer.head().await.unwrap();
        let entries = entries(head, &[(1, version)]);
        let batch = Batch { entries, blobs: vec![blob(&large), blob(b"small")], ..Batch::default() };
        writer.commit(head, &batch).await.unwrap();
    }
    assert_eq!(reader.blob(Sha256Digest::of(&large)).await.unwrap(), Some(large.clone()));
    assert_eq!(reader.blob(Sha256Digest::of(b"absent")).await.unwrap(), None);
    let mut digests = vec![Sha256Digest::of(&large), Sha256Digest::of(b"small")];
    digests.sort();
    assert_eq!(reader.blobs(None, 10).await.unwrap(), digests);
    assert_eq!(reader.blobs(Some(digests[0]), 10).await.unwrap(), digests[1..]);
}

fn idempotency_key(key: &str) -> IdempotencyKey {
    IdempotencyKey { tenant: "default".into(), key: key.into() }
}

fn owner(id: u128) -> KeyOwner {
    KeyOwner { job: job(id), digest: Sha256Digest::of(&id.to_be_bytes()) }
}

pub(crate) async fn keys(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let other_tenant = IdempotencyKey { tenant: "other".into(), key: "a".into() };
    let keys = vec![
        (idempotency_key("a"), owner(1)),
        (idempotency_key("ü ; DROP TABLE"), owner(2)),
        (other_tenant.clone(), owner(3)),
    ];
    let batch = Batch { entries: entries(Head::EMPTY, &[(1, 1)]), keys: keys.clone(), ..Batch::default() };
    writer.commit(Head::EMPTY, &batch).await.unwrap();
    let asked = [idempotency_key("b"), other_tenant, idempotency_key("a")];
    assert_eq!(writer.owners(&asked).await.unwrap(), [None, Some(owner(3)), Some(owner(1))]);
    assert_eq!(reader.keys(None, 10).await.unwrap(), keys);
    assert_eq!(reader.keys(Some(keys[0].0.clone()), 1).await.unwrap(), keys[1..2]);

    let head = writer.head().await.unwrap();
    let taken = Batch {
        entries: entries(head, &[(4, 1)]),
        keys: vec![(idempotency_key("a"), owner(4))],
        ..Batch::default()
    };
    writer.commit(head, &taken).await.unwrap_err();
    assert_eq!(reader.head().await.unwrap(), head);
    assert_eq!(writer.owners(&[idempotency_key("a")]).await.unwrap(), [Some(owner(1))]);
}

pub(crate) async fn the_queue_can_be_replaced(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let lease = writer.open_lease("me", at(100)).await.unwrap();
    commit(writer.as_mut(), &[(1, 1)], vec![waiting(task(1, 0, 1)), waiting(task(2, 0, 1))]).await.unwrap();
    let tasks = [(task(2, 3, 4), Some(lease)), (task(5, 0, 1), None)];
    let keys = [(idempotency_key("new"), owner(5))];
    writer.replace_queue(&tasks, &keys).await.unwrap();
    assert_eq!(reader.tasks(None, 10).await.unwrap(), tasks);
    assert_eq!(reader.keys(None, 10).await.unwrap(), keys);
    assert_eq!(reader.head().await.unwrap().position, Position(1));
}

pub(crate) async fn everything_survives_reopening(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let lease = writer.open_lease("me", Timestamp::MAX).await.unwrap();
    let batch = Batch {
        entries: entries(Head::EMPTY, &[(1, 1), (2, 1)]),
        tasks: vec![TaskWrite::Insert { task: task(1, 0, 1), lease: Some(lease) }, waiting(task(2, 0, 1))],
        blobs: vec![blob(b"kept")],
        keys: vec![(idempotency_key("k"), owner(1))],
    };
    writer.commit(Head::EMPTY, &batch).await.unwrap();
    drop((writer, reader));

    let (mut writer, reader) = fixture.open().await;
    assert_eq!(reader.read_all(Position::START, 10).await.unwrap(), recorded(&batch.entries));
    assert_eq!(writer.head().await.unwrap().hash, batch.entries[1].recorded.hash);
    assert_eq!(reader.blob(Sha256Digest::of(b"kept")).await.unwrap(), Some(b"kept".to_vec()));
    assert_eq!(writer.owners(&[idempotency_key("k")]).await.unwrap(), [Some(owner(1))]);
    assert_eq!(reader.tasks(None, 10).await.unwrap(), [(task(1, 0, 1), Some(lease)), (task(2, 0, 1), None)]);
    assert!(writer.open_lease("me", at(1)).await.unwrap() > lease);
}

/// For adapters whose ownership proves that earlier holders are gone.
pub(crate) async fn held_tasks_are_orphans_after_reopening(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let lease: LeaseToken = writer.open_lease("me", Timestamp::MAX).await.unwrap();
    let held = TaskWrite::Insert { task: task(1, 0, 1), lease: Some(lease) };
    commit(writer.as_mut(), &[(1, 1)], vec![held]).await.unwrap();
    assert_eq!(writer.orphans(lease, at(5), 10).await.unwrap(), []);
    drop((writer, reader));
    let (mut writer, _reader) = fixture.open().await;
    let next = writer.open_lease("me", Timestamp::MAX).await.unwrap();
    assert_eq!(writer.orphans(next, at(5), 10).await.unwrap(), [(key(1), lease)]);
}
