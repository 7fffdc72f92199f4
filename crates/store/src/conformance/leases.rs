//! Leases, and what becomes of the tasks of dead ones.

use std::time::Duration;

use quillwork_app::ports::store::{Holder, LeaseToken, TaskWrite};
use tokio::time::{sleep, timeout};

use super::*;

fn held(id: u128, lease: LeaseToken) -> TaskWrite {
    TaskWrite::Insert { task: task(id, 0, 1), lease: Some(lease) }
}

/// The orphans, in order, as soon as there are `n`: time has to pass, by whatever clock.
async fn orphans(writer: &mut dyn LogWriter, mine: LeaseToken, n: usize) -> Vec<(TaskKey, LeaseToken)> {
    let found = async {
        loop {
            let mut orphans = writer.orphans(mine, 10).await.unwrap();
            if orphans.len() >= n {
                orphans.sort();
                return orphans;
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(60), found).await.unwrap()
}

pub(crate) async fn leases_and_orphans(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let dead = writer.open_lease("same name", TTL).await.unwrap();
    let alive = writer.open_lease("same name", TTL).await.unwrap();
    assert!(alive > dead, "tokens come from a sequence");
    let tasks = vec![held(1, dead), held(2, alive), held(3, dead), waiting(task(4, 0, 1))];
    commit(writer.as_mut(), &[(1, 1)], tasks).await.unwrap();
    assert_eq!(writer.orphans(alive, 10).await.unwrap(), []);
    assert!(writer.renew_lease(dead, Duration::ZERO).await.unwrap());

    let expected = [(key(1), dead), (key(3), dead)];
    assert_eq!(orphans(writer.as_mut(), alive, 2).await, expected);
    assert_eq!(writer.orphans(alive, 1).await.unwrap().len(), 1);
    assert!(!writer.renew_lease(dead, TTL).await.unwrap(), "a lease that was given up is gone for good");
    assert_eq!(orphans(writer.as_mut(), alive, 2).await, expected, "they stay until a batch releases them");
    assert!(writer.renew_lease(alive, TTL).await.unwrap());

    let release = |id| TaskWrite::Move {
        key: key(id),
        held_by: Holder::Lease(dead),
        lease: None,
        run_at: Some(at(101)),
    };
    commit(writer.as_mut(), &[(1, 2)], vec![release(1), release(3)]).await.unwrap();
    assert_eq!(writer.orphans(alive, 10).await.unwrap(), []);
    assert_eq!(ready(writer.as_mut(), 101).await, [4, 1, 3]);
    let next = writer.open_lease("same name", TTL).await.unwrap();
    assert!(next > alive, "tokens are never used again");

    assert!(writer.renew_lease(alive, Duration::ZERO).await.unwrap());
    assert_eq!(orphans(writer.as_mut(), next, 1).await, [(key(2), alive)]);
}

pub(crate) async fn a_lease_that_is_given_back(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let mine = writer.open_lease("me", TTL).await.unwrap();
    let leaving = writer.open_lease("them", TTL).await.unwrap();
    commit(writer.as_mut(), &[(1, 1)], vec![held(1, leaving), held(2, mine)]).await.unwrap();
    writer.close_lease(leaving).await.unwrap();
    assert_eq!(writer.orphans(mine, 10).await.unwrap(), [(key(1), leaving)]);
    assert!(!writer.renew_lease(leaving, TTL).await.unwrap());
    writer.close_lease(leaving).await.unwrap();
    assert_eq!(writer.held(mine).await.unwrap(), [key(2)]);
    assert!(writer.open_lease("them", TTL).await.unwrap() > leaving);
}

pub(crate) async fn held_by_handler(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let lease = writer.open_lease("me", TTL).await.unwrap();
    let other = writer.open_lease("them", TTL).await.unwrap();
    let of = |handler: &str, id, lease| TaskWrite::Insert {
        task: Task { handler: handler.into(), ..task(id, 0, 1) },
        lease,
    };
    let tasks = vec![
        held(1, lease),
        held(2, other),
        of("write", 3, Some(lease)),
        waiting(task(4, 0, 1)),
        of("idle", 5, None),
    ];
    commit(writer.as_mut(), &[(1, 1)], tasks).await.unwrap();
    let handlers = ["write".into(), "none".into(), "echo".into(), "idle".into()];
    assert_eq!(writer.held_by_handler(&handlers).await.unwrap(), [1, 0, 2, 0]);
    assert!(writer.held_by_handler(&[]).await.unwrap().is_empty());
    let mut handlers = writer.handlers().await.unwrap();
    handlers.sort();
    assert_eq!(handlers, ["echo", "idle", "write"]);
    let mut held = writer.held(lease).await.unwrap();
    held.sort();
    assert_eq!(held, [key(1), key(3)]);
}

/// For adapters whose ownership proves that earlier holders are gone.
pub(crate) async fn held_tasks_are_orphans_after_reopening(fixture: &dyn Fixture) {
    let (mut writer, reader) = fixture.open().await;
    let lease: LeaseToken = writer.open_lease("me", TTL).await.unwrap();
    commit(writer.as_mut(), &[(1, 1)], vec![held(1, lease)]).await.unwrap();
    assert_eq!(writer.orphans(lease, 10).await.unwrap(), []);
    drop((writer, reader));
    let (mut writer, _reader) = fixture.open().await;
    let next = writer.open_lease("me", TTL).await.unwrap();
    assert_eq!(writer.orphans(next, 10).await.unwrap(), [(key(1), lease)]);
}
