//! Tasks: who holds them, and what a batch may presume of that.

use quillwork_app::ports::store::{Batch, CommitError, Holder, LeaseToken, TaskWrite};
use quillwork_domain::id::{Position, StreamId};

use super::*;

pub(crate) async fn a_lost_task_voids_the_batch(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let mine = writer.open_lease("me", TTL).await.unwrap();
    let theirs = writer.open_lease("them", TTL).await.unwrap();
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
            ..Batch::default()
        };
        let refused = writer.commit(before, &batch).await;
        let Err(CommitError::Fenced(keys)) = refused else { panic!("{write:?}: {refused:?}") };
        assert_eq!(keys.len(), 1, "{write:?}: {keys:?}");
        assert_eq!(reader.head().await.unwrap(), before);
        nothing_of(&mut *writer, &*reader, &batch).await;
    }
}

pub(crate) async fn holders(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let lease = writer.open_lease("me", TTL).await.unwrap();
    let held = |id| TaskWrite::Insert { task: task(id, 0, 1), lease: Some(lease) };
    commit(
        writer.as_mut(),
        &[(1, 1)],
        vec![held(1), held(2), waiting(task(3, 0, 1)), waiting(task(4, 0, 1))],
    )
    .await
    .unwrap();
    assert_eq!(ready(writer.as_mut(), 10).await, [3, 4]);
    let mut keys = writer.held(lease).await.unwrap();
    keys.sort();
    assert_eq!(keys, [key(1), key(2)]);
    assert_eq!(writer.held(LeaseToken(lease.0 + 1)).await.unwrap(), []);
    assert_eq!(writer.survey().await.unwrap().backlog, 4);
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

pub(crate) async fn the_queue_can_be_replaced(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let lease = writer.open_lease("me", TTL).await.unwrap();
    commit(writer.as_mut(), &[(1, 1)], vec![waiting(task(1, 0, 1)), waiting(task(2, 0, 1))]).await.unwrap();
    let tasks = [(task(2, 3, 4), Some(lease)), (task(5, 0, 1), None)];
    let keys = [(idempotency_key("new"), owner(5))];
    writer.replace_queue(&tasks, &keys).await.unwrap();
    assert_eq!(reader.tasks(None, 10).await.unwrap(), tasks);
    assert_eq!(reader.keys(None, 10).await.unwrap(), keys);
    assert_eq!(reader.head().await.unwrap().position, Position(1));
}

pub(crate) async fn every_lost_task_is_named(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let mine = writer.open_lease("me", TTL).await.unwrap();
    let theirs = writer.open_lease("them", TTL).await.unwrap();
    let held = |id, lease| TaskWrite::Insert { task: task(id, 0, 1), lease: Some(lease) };
    let tasks = vec![held(1, mine), held(2, theirs), held(3, mine), waiting(task(4, 0, 1)), held(6, mine)];
    commit(writer.as_mut(), &[(1, 1)], tasks).await.unwrap();
    let before = reader.head().await.unwrap();
    let delete = |id| TaskWrite::Delete { key: key(id), held_by: Holder::Lease(mine) };
    let give_back =
        |id| TaskWrite::Move { key: key(id), held_by: Holder::Lease(mine), lease: None, run_at: None };
    let writes = vec![delete(1), delete(2), give_back(3), give_back(4), delete(5), waiting(task(7, 0, 1))];
    let refused = commit(writer.as_mut(), &[(1, 2)], writes).await;
    let Err(CommitError::Fenced(mut keys)) = refused else { panic!("{refused:?}") };
    keys.sort();
    assert_eq!(keys, [key(2), key(4), key(5)]);
    assert_eq!(reader.head().await.unwrap(), before);
    assert_eq!(reader.tasks(None, 10).await.unwrap().len(), 5);
    commit(writer.as_mut(), &[(1, 2)], vec![delete(1), give_back(3)]).await.unwrap();
    assert_eq!(ready(writer.as_mut(), 1).await, [3, 4]);
}

pub(crate) async fn due_times(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let lease = writer.open_lease("me", TTL).await.unwrap();
    let held = TaskWrite::Insert { task: task(4, 0, 15), lease: Some(lease) };
    let other = Task { handler: "other".into(), ..task(5, 0, 12) };
    let of = |tenant: &str, task| Task { tenant: tenant.into(), ..task };
    let tasks = vec![
        waiting(of("b", task(1, 0, 30))),
        waiting(of("a", task(2, 5, 20))),
        waiting(task(3, 0, 10)),
        held,
        waiting(other),
    ];
    commit(writer.as_mut(), &[(1, 1)], tasks).await.unwrap();
    let echo = ["echo".into()];
    assert_eq!(writer.next_due(&echo, at(0)).await.unwrap(), Some(at(10)));
    assert_eq!(writer.next_due(&echo, at(10)).await.unwrap(), Some(at(20)));
    assert_eq!(writer.next_due(&echo, at(29)).await.unwrap(), Some(at(30)));
    assert_eq!(writer.next_due(&echo, at(30)).await.unwrap(), None);
    let both = ["other".into(), "echo".into(), "none".into()];
    assert_eq!(writer.next_due(&both, at(10)).await.unwrap(), Some(at(12)));
    assert_eq!(writer.next_due(&["none".into()], at(0)).await.unwrap(), None);
    assert_eq!(writer.next_due(&[], at(0)).await.unwrap(), None);
}

/// It says when what is known of the queue is out of date, and no more often.
pub(crate) async fn the_queue_number(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let lease = writer.open_lease("me", TTL).await.unwrap();
    let mine = Holder::Lease(lease);
    let held = |id| TaskWrite::Insert { task: task(id, 0, 1), lease: Some(lease) };
    let take = TaskWrite::Move { key: key(1), held_by: Holder::Nobody, lease: Some(lease), run_at: None };
    let give_back = TaskWrite::Move { key: key(1), held_by: mine, lease: None, run_at: Some(at(4)) };
    let delete = |id, held_by| TaskWrite::Delete { key: key(id), held_by };
    for (writes, queue) in [
        (vec![], 0),
        (vec![held(2)], 0),
        (vec![waiting(task(1, 0, 1))], 3),
        (vec![take], 3),
        (vec![give_back], 5),
        (vec![delete(2, mine)], 5),
        (vec![delete(1, Holder::Nobody)], 5),
    ] {
        let version = writer.survey().await.unwrap().head.position.0 + 1;
        commit(writer.as_mut(), &[(1, version)], writes.clone()).await.unwrap();
        assert_eq!(writer.survey().await.unwrap().queue, Position(queue), "{writes:?}");
    }
    let head = writer.survey().await.unwrap().head;
    let mut batch = Batch { entries: entries(head, &[(1, 8)]), ..Batch::default() };
    batch.entries[0].recorded.stream = StreamId::Queues;
    writer.commit(head, &batch).await.unwrap();
    let survey = writer.survey().await.unwrap();
    assert_eq!((survey.queue, survey.controls), (Position(8), Version(8)), "the controls changed");
    let stale = writer.commit(head, &Batch { tasks: vec![waiting(task(3, 0, 1))], ..batch }).await;
    assert!(matches!(stale, Err(CommitError::HeadMoved)), "{stale:?}");
    assert_eq!(writer.survey().await.unwrap().queue, Position(8));
}

pub(crate) async fn a_batch_without_events(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    commit(writer.as_mut(), &[(1, 1)], vec![]).await.unwrap();
    let before = reader.head().await.unwrap();
    commit(writer.as_mut(), &[], vec![waiting(task(1, 0, 1))]).await.unwrap();
    assert_eq!(reader.head().await.unwrap(), before);
    assert_eq!(ready(writer.as_mut(), 1).await, [1]);
    let stale = Batch { tasks: vec![waiting(task(2, 0, 1))], ..Batch::default() };
    let refused = writer.commit(Head::EMPTY, &stale).await;
    assert!(matches!(refused, Err(CommitError::HeadMoved)), "{refused:?}");
    assert_eq!(writer.survey().await.unwrap().backlog, 1);
}

/// What one writer can see of a lock: it ends with whatever becomes of the batch.
pub(crate) async fn locking(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    writer.unlock().await.unwrap();
    let seen = writer.lock().await.unwrap();
    assert_eq!(seen.head, Head::EMPTY);
    assert_eq!(writer.lock().await.unwrap().head, Head::EMPTY, "twice is once");
    writer.unlock().await.unwrap();

    writer.lock().await.unwrap();
    let first = Batch {
        entries: entries(Head::EMPTY, &[(1, 1)]),
        tasks: vec![waiting(task(1, 0, 1))],
        ..Batch::default()
    };
    writer.commit(Head::EMPTY, &first).await.unwrap();
    let after = reader.head().await.unwrap();
    assert_eq!(after.position, Position(1));

    assert_eq!(writer.lock().await.unwrap().head, after);
    assert!(matches!(writer.commit(Head::EMPTY, &first).await, Err(CommitError::HeadMoved)));
    writer.lock().await.unwrap();
    let delete = TaskWrite::Delete { key: key(1), held_by: Holder::Lease(LeaseToken(77)) };
    let refused = commit(writer.as_mut(), &[(1, 2)], vec![delete]).await;
    assert!(matches!(refused, Err(CommitError::Fenced(_))), "{refused:?}");
    let seen = writer.lock().await.unwrap();
    assert_eq!((seen.head, seen.backlog), (after, 1));
    assert_eq!(ready(writer.as_mut(), 1).await, [1]);
    commit(writer.as_mut(), &[(1, 2)], vec![]).await.unwrap();
    assert_eq!(reader.head().await.unwrap().position, Position(2));
}
