//! The log itself: events, blobs and keys.

use quillwork_app::ports::store::{Batch, CommitError, Happened, Head, IdempotencyKey, TaskWrite};
use quillwork_domain::id::{Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;

use super::*;

pub(crate) async fn an_empty_log(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    assert_eq!(writer.survey().await.unwrap().head, Head::EMPTY);
    assert_eq!(reader.head().await.unwrap(), Head::EMPTY);
    assert!(reader.read_all(Position::START, 10).await.unwrap().is_empty());
    assert!(reader.stream(job(1).into(), Version(0), 10).await.unwrap().is_empty());
    assert_eq!(writer.load(&[(job(1).into(), Version(0))]).await.unwrap(), [vec![]]);
    assert_eq!(writer.next_due(&["echo".into()], at(0)).await.unwrap(), None);
    assert_eq!(writer.survey().await.unwrap().backlog, 0);
    assert!(reader.check().await.unwrap().is_empty());
}

pub(crate) async fn appending_and_reading(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let first = commit(writer.as_mut(), &[(1, 1), (2, 1), (1, 2)], vec![]).await.unwrap();
    let head = writer.survey().await.unwrap().head;
    let mut second = Batch { entries: entries(head, &[(2, 2)]), ..Batch::default() };
    second.entries[0].recorded.recorded_at = at(1_700_000_000_123);
    writer.commit(head, &second).await.unwrap();
    let all = recorded(&[first, second.entries].concat());
    assert_eq!(reader.read_all(Position::START, 10).await.unwrap(), all);
    assert_eq!(reader.stream(job(1).into(), Version(0), 10).await.unwrap(), [all[0].clone(), all[2].clone()]);
    assert_eq!(
        writer
            .load(&[(job(2).into(), Version(0)), (job(9).into(), Version(0)), (job(1).into(), Version(1))])
            .await
            .unwrap(),
        [vec![all[1].clone(), all[3].clone()], vec![], vec![all[2].clone()]]
    );
    let head = Head { position: Position(4), hash: all[3].hash };
    assert_eq!(writer.survey().await.unwrap().head, head);
    assert_eq!(reader.head().await.unwrap(), head);
}

pub(crate) async fn paging(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let events: Vec<(u128, u64)> = (1..=300).map(|version| (1, version)).collect();
    let all = recorded(&commit(writer.as_mut(), &events, vec![]).await.unwrap());
    let mut after = Position::START;
    let mut positions = Vec::new();
    loop {
        let page = reader.read_all(after, 70).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.position;
        positions.extend(page.iter().map(|event| event.position.0));
    }
    assert_eq!(positions, (1..=300).collect::<Vec<u64>>());
    // Few and many at a time may be read in different ways.
    for limit in [1, 7, 255, 256, 4_096] {
        let page = reader.read_all(Position(3), limit).await.unwrap();
        let n_events = limit.min(297);
        assert_eq!(page, all[3..3 + n_events], "up to {limit}");
        assert!(reader.read_all(Position(300), limit).await.unwrap().is_empty());
        let told = reader.replay(Position(3), limit).await.unwrap();
        let expected: Vec<_> = page.into_iter().map(Happened::from).collect();
        assert_eq!(format!("{told:?}"), format!("{expected:?}"), "up to {limit}");
        assert!(reader.replay(Position(300), limit).await.unwrap().is_empty());
    }
    let page = reader.stream(job(1).into(), Version(20), 3).await.unwrap();
    assert_eq!(page.iter().map(|event| event.version.0).collect::<Vec<_>>(), [21, 22, 23]);
}

pub(crate) async fn reading_some_kinds(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let events: Vec<(u128, u64)> = (1..=30).map(|version| (1, version)).collect();
    let mut batch = Batch { entries: entries(Head::EMPTY, &events), ..Batch::default() };
    for (nth, entry) in batch.entries.iter_mut().enumerate() {
        entry.recorded.kind = ["JobCancelled", "JobCompleted", "JobFailed"][nth % 3].into();
    }
    writer.commit(Head::EMPTY, &batch).await.unwrap();
    for (kinds, after, until, limit, expected) in [
        (&["JobCompleted"][..], 0, 30, 100, &[2, 5, 8, 11, 14, 17, 20, 23, 26, 29][..]),
        (&["JobFailed", "JobCancelled"], 3, 10, 100, &[4, 6, 7, 9, 10]),
        (&["JobFailed", "JobCancelled"], 3, 10, 3, &[4, 6, 7]),
        (&["JobCompleted"], 26, 28, 100, &[]),
        (&["StageStarted"], 0, 30, 100, &[]),
        (&["JobCompleted"], 26, 1_000, 100, &[29]),
        (&["JobCompleted"], 30, 1_000, 100, &[]),
    ] {
        let names: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let found = reader.read_kinds(&names, (Position(after), Position(until)), limit).await.unwrap();
        let positions: Vec<u64> = found.iter().map(|event| event.position.0).collect();
        assert_eq!(positions, expected, "{kinds:?} from {after} to {until}, up to {limit}");
    }
}

pub(crate) async fn a_moved_head(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    commit(writer.as_mut(), &[(1, 1)], vec![]).await.unwrap();
    let batch = Batch {
        entries: entries(Head::EMPTY, &[(2, 1)]),
        tasks: vec![waiting(task(2, 0, 1))],
        blobs: vec![blob(b"stale")],
        keys: vec![(idempotency_key("k"), owner(2))],
        ..Batch::default()
    };
    let refused = writer.commit(Head::EMPTY, &batch).await;
    assert!(matches!(refused, Err(CommitError::HeadMoved)), "{refused:?}");
    nothing_of(&mut *writer, &*reader, &batch).await;
}

pub(crate) async fn a_version_that_exists(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    commit(writer.as_mut(), &[(1, 1)], vec![]).await.unwrap();
    let before = reader.head().await.unwrap();
    commit(writer.as_mut(), &[(2, 1), (1, 1)], vec![]).await.unwrap_err();
    assert_eq!(reader.head().await.unwrap(), before);
    assert!(reader.stream(job(2).into(), Version(0), 10).await.unwrap().is_empty());
}

pub(crate) async fn blobs(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let large = vec![b'x'; 5 << 20];
    for version in 1..=2 {
        let head = writer.survey().await.unwrap().head;
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

    let head = writer.survey().await.unwrap().head;
    let taken = Batch {
        entries: entries(head, &[(4, 1)]),
        keys: vec![(idempotency_key("a"), owner(4))],
        ..Batch::default()
    };
    writer.commit(head, &taken).await.unwrap_err();
    assert_eq!(reader.head().await.unwrap(), head);
    assert_eq!(writer.owners(&[idempotency_key("a")]).await.unwrap(), [Some(owner(1))]);
}

pub(crate) async fn everything_survives_reopening(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let lease = writer.open_lease("me", TTL).await.unwrap();
    let batch = Batch {
        entries: entries(Head::EMPTY, &[(1, 1), (2, 1)]),
        tasks: vec![TaskWrite::Insert { task: task(1, 0, 1), lease: Some(lease) }, waiting(task(2, 0, 1))],
        blobs: vec![blob(b"kept")],
        keys: vec![(idempotency_key("k"), owner(1))],
        ..Batch::default()
    };
    writer.commit(Head::EMPTY, &batch).await.unwrap();
    drop((writer, reader));

    let (mut writer, reader) = fixture.open().await;
    assert_eq!(reader.read_all(Position::START, 10).await.unwrap(), recorded(&batch.entries));
    assert_eq!(writer.survey().await.unwrap().head.hash, batch.entries[1].recorded.hash);
    assert_eq!(reader.blob(Sha256Digest::of(b"kept")).await.unwrap(), Some(b"kept".to_vec()));
    assert_eq!(writer.owners(&[idempotency_key("k")]).await.unwrap(), [Some(owner(1))]);
    assert_eq!(reader.tasks(None, 10).await.unwrap(), [(task(1, 0, 1), Some(lease)), (task(2, 0, 1), None)]);
    assert!(writer.open_lease("me", TTL).await.unwrap() > lease);
}

pub(crate) async fn the_streams_of_articles(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let article = |n: u128| JobId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n));
    let mut batch =
        Batch { entries: entries(Head::EMPTY, &[(1, 1), (1, 2), (2, 1), (3, 1)]), ..Batch::default() };
    let of = [
        StreamId::Content(article(1)),
        StreamId::Content(article(1)),
        StreamId::Content(article(2)),
        StreamId::Job(article(1)),
    ];
    for (entry, stream) in batch.entries.iter_mut().zip(of) {
        entry.recorded.stream = stream;
    }
    writer.commit(Head::EMPTY, &batch).await.unwrap();
    let all = recorded(&batch.entries);
    assert_eq!(reader.read_all(Position::START, 10).await.unwrap(), all);
    assert_eq!(reader.stream(of[0], Version(0), 10).await.unwrap(), all[..2]);
    assert_eq!(reader.stream(of[3], Version(0), 10).await.unwrap(), all[3..]);
    let asked = [StreamId::Content(article(9)), of[0], of[3], of[2]];
    assert_eq!(writer.versions(&asked).await.unwrap(), [0, 2, 1, 1].map(Version));
    assert_eq!(writer.versions(&[]).await.unwrap(), []);
}

pub(crate) async fn the_stream_of_the_queues(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let mut batch = Batch { entries: entries(Head::EMPTY, &[(1, 1), (9, 1)]), ..Batch::default() };
    batch.entries[1].recorded.stream = StreamId::Queues;
    writer.commit(Head::EMPTY, &batch).await.unwrap();
    let all = recorded(&batch.entries);
    assert_eq!(reader.stream(StreamId::Queues, Version(0), 10).await.unwrap(), all[1..]);
    assert_eq!(writer.load(&[(StreamId::Queues, Version(0))]).await.unwrap(), [all[1..].to_vec()]);
    assert_eq!(reader.read_all(Position::START, 10).await.unwrap(), all);
}
