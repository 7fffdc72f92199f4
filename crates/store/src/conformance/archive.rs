//! Streams that leave the log.

use quillwork_app::ports::store::{Batch, CommitError, LogReader, LogWriter, Removal};
use quillwork_domain::archive::Run;
use quillwork_domain::id::{Position, StreamId, Version};

use super::*;

/// Jobs 1 and 3, with a key each, between the events of job 2; returns what was committed.
async fn filled(writer: &mut dyn LogWriter) -> Vec<Recorded> {
    let events = [(1, 1), (1, 2), (2, 1), (3, 1), (1, 3), (2, 2)];
    let batch = Batch {
        entries: entries(Head::EMPTY, &events),
        tasks: vec![waiting(task(2, 0, 1))],
        blobs: vec![blob(b"kept")],
        keys: vec![
            (idempotency_key("a"), owner(1)),
            (idempotency_key("b"), owner(2)),
            (idempotency_key("c"), owner(3)),
        ],
        ..Batch::default()
    };
    writer.commit(Head::EMPTY, &batch).await.unwrap();
    recorded(&batch.entries)
}

fn run(log: &[Recorded], first: usize, last: usize) -> Run {
    let before = if first == 1 { chain::GENESIS } else { log[first - 2].hash };
    Run { first: Position(first as u64), last: Position(last as u64), before, hash: log[last - 1].hash }
}

/// Removes jobs 1 and 3 with an event of the archive's stream.
fn removal(log: &[Recorded], versions: [u64; 2]) -> Batch {
    let last = &log[log.len() - 1];
    let head = Head { position: last.position, hash: last.hash };
    let mut entries = entries(head, &[(9, 1)]);
    entries[0].recorded.stream = StreamId::Archive;
    let [one, three] = versions.map(Version);
    Batch {
        entries,
        removal: Removal {
            streams: vec![(job(1).into(), one), (job(3).into(), three)],
            keys: vec![idempotency_key("a"), idempotency_key("c")],
            runs: vec![run(log, 1, 2), run(log, 4, 5)],
        },
        ..Batch::default()
    }
}

async fn everything(writer: &mut dyn LogWriter, reader: &dyn LogReader) -> (Vec<Recorded>, Vec<Run>, usize) {
    let events = reader.read_all(Position::START, 100).await.unwrap();
    assert_eq!(reader.head().await.unwrap(), writer.survey().await.unwrap().head);
    let runs = reader.archived_runs(Position::START, 100).await.unwrap();
    (events, runs, reader.keys(None, 100).await.unwrap().len())
}

pub(crate) async fn streams_leave_the_log(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let log = filled(writer.as_mut()).await;
    let head = writer.lock().await.unwrap().head;
    let batch = removal(&log, [3, 1]);
    writer.commit(head, &batch).await.unwrap();
    drop((writer, reader));

    let (mut writer, reader) = fixture.open().await;
    let left = [log[2].clone(), log[5].clone(), batch.entries[0].recorded.clone()];
    assert_eq!(reader.read_all(Position::START, 100).await.unwrap(), left);
    assert_eq!(reader.read_all(Position(3), 1).await.unwrap(), left[1..2]);
    assert_eq!(reader.head().await.unwrap().hash, left[2].hash);
    assert!(reader.stream(job(1).into(), Version(0), 10).await.unwrap().is_empty());
    assert_eq!(reader.stream(StreamId::Archive, Version(0), 10).await.unwrap(), left[2..]);
    assert_eq!(writer.load(&[(job(3).into(), Version(0))]).await.unwrap(), [vec![]]);
    for (stream, version) in [(StreamId::Archive, 1), (job(2).into(), 2), (job(3).into(), 0)] {
        assert_eq!(writer.version(stream).await.unwrap(), Version(version), "{stream}");
    }
    let keys = ["a", "b", "c"].map(idempotency_key);
    assert_eq!(writer.owners(&keys).await.unwrap(), [None, Some(owner(2)), None]);
    assert_eq!(reader.tasks(None, 10).await.unwrap().len(), 1);
    assert_eq!(reader.blob(Sha256Digest::of(b"kept")).await.unwrap(), Some(b"kept".to_vec()));
    assert_eq!(reader.check().await.unwrap(), [] as [String; 0]);

    let runs = [run(&log, 1, 2), run(&log, 4, 5)];
    assert_eq!(reader.archived_runs(Position::START, 10).await.unwrap(), runs);
    assert_eq!(reader.archived_runs(Position(1), 1).await.unwrap(), runs[..1], "a part of it");
    assert_eq!(reader.archived_runs(Position(2), 10).await.unwrap(), runs[1..]);
    assert_eq!(reader.archived_runs(Position(5), 10).await.unwrap(), []);

    // Life goes on, and a key that is free can be taken.
    let head = writer.survey().await.unwrap().head;
    let batch = Batch {
        entries: entries(head, &[(4, 1)]),
        keys: vec![(idempotency_key("a"), owner(4))],
        ..Batch::default()
    };
    writer.commit(head, &batch).await.unwrap();
    assert_eq!(reader.head().await.unwrap().position, Position(8));
}

/// A stream that is not as presumed, a head that moved, or a lost task.
pub(crate) async fn a_refused_removal_leaves_everything(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let log = filled(writer.as_mut()).await;
    let head = writer.survey().await.unwrap().head;
    let before = everything(writer.as_mut(), &*reader).await;
    for versions in [[2, 1], [3, 2], [4, 1], [4, 0], [2, 2]] {
        let refused = writer.commit(head, &removal(&log, versions)).await;
        assert!(matches!(refused, Err(CommitError::HeadMoved)), "{versions:?}: {refused:?}");
        assert_eq!(everything(writer.as_mut(), &*reader).await, before, "{versions:?}");
    }
    let stale = removal(&log[..5], [3, 1]);
    let refused = writer.commit(Head { position: Position(5), hash: log[4].hash }, &stale).await;
    assert!(matches!(refused, Err(CommitError::HeadMoved)), "{refused:?}");
    assert_eq!(everything(writer.as_mut(), &*reader).await, before);
    let lost = TaskWrite::Delete { key: key(7), held_by: quillwork_app::ports::store::Holder::Anyone };
    let refused = writer.commit(head, &Batch { tasks: vec![lost], ..removal(&log, [3, 1]) }).await;
    assert!(matches!(refused, Err(CommitError::Fenced(_))), "{refused:?}");
    assert_eq!(everything(writer.as_mut(), &*reader).await, before);
    writer.commit(head, &removal(&log, [3, 1])).await.unwrap();
}
