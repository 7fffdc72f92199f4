//! Whose turn it is.

use quillwork_app::ports::store::{Claim, TaskWrite};

use super::*;

/// Waiting tasks of a tenant, with these jobs, all of equal worth.
fn of(tenant: &str, jobs: impl IntoIterator<Item = u128>) -> Vec<TaskWrite> {
    jobs.into_iter().map(|id| waiting(Task { tenant: tenant.into(), ..task(id, 0, 1) })).collect()
}

pub(crate) async fn ready_order(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let other = Task { handler: "other".into(), ..task(7, 9, 1) };
    let tasks = [
        task(3, 0, 5),
        task(2, 0, 5),
        task(1, 0, 7),
        task(9, 4, 9),
        task(8, 4, 99),
        task(6, -3, 1),
        other.clone(),
    ];
    commit(writer.as_mut(), &[(1, 1)], tasks.map(waiting).to_vec()).await.unwrap();
    assert_eq!(ready(writer.as_mut(), 4).await, [6], "nothing else is due yet");
    assert_eq!(ready(writer.as_mut(), 10).await, [9, 2, 3, 1, 6]);
    assert_eq!(claim(writer.as_mut(), "", 2, 10).await, [task(9, 4, 9), task(2, 0, 5)]);
    assert_eq!(claim(writer.as_mut(), "", usize::MAX, 10).await.len(), 5);
    assert_eq!(claim(writer.as_mut(), "", 0, 10).await, []);
    let wish = |handler: &str, limit| Claim { handler: handler.into(), after: "".into(), limit };
    let ready = writer.ready(&[wish("other", 5), wish("none", 5), wish("echo", 1)], at(10)).await.unwrap();
    assert_eq!(ready, [vec![other], vec![], vec![task(9, 4, 9)]]);
    assert!(writer.ready(&[], at(10)).await.unwrap().is_empty());
    let mut handlers = writer.handlers().await.unwrap();
    handlers.sort();
    assert_eq!(handlers, ["echo", "other"]);
}

pub(crate) async fn tenants_take_turns(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let urgent = waiting(Task { tenant: "b".into(), ..task(29, 5, 8) });
    let later = waiting(Task { tenant: "aa".into(), ..task(50, 9, 99) });
    let tasks =
        [of("c", 30..34), of("a", 10..11), of("b", 20..23), of("Z", 40..42), vec![urgent, later]].concat();
    commit(writer.as_mut(), &[(1, 1)], tasks).await.unwrap();
    // Names in the order of their bytes.
    let all = claim(writer.as_mut(), "", 100, 10).await;
    assert_eq!(ids(&all), [40, 10, 29, 30, 41, 20, 31, 21, 32, 22, 33]);
    for limit in 0..=all.len() {
        assert_eq!(claim(writer.as_mut(), "", limit, 10).await, all[..limit], "{limit}");
    }
}

pub(crate) async fn the_last_turn_is_remembered(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let tasks = [of("a", 10..12), of("b", 20..22), of("c", 30..32)].concat();
    commit(writer.as_mut(), &[(1, 1)], tasks).await.unwrap();
    for (after, expected) in [
        ("", [10, 20, 30, 11]),
        ("a", [20, 30, 10, 21]),
        ("b", [30, 10, 20, 31]),
        // One that has nothing any more.
        ("bb", [30, 10, 20, 31]),
        ("c", [10, 20, 30, 11]),
        ("z", [10, 20, 30, 11]),
    ] {
        assert_eq!(ids(&claim(writer.as_mut(), after, 4, 10).await), expected, "{after}");
    }
    assert_eq!(ids(&claim(writer.as_mut(), "a", 1, 10).await), [20]);
}

/// Many tasks of one tenant, and many tenants that wait for a later time.
pub(crate) async fn a_crowd_hides_nobody(fixture: &dyn Fixture) {
    let (mut writer, _) = fixture.open().await;
    let later = |id: u128| waiting(Task { tenant: format!("m{id}").into(), ..task(id, 0, 500) });
    let mut tasks = of("m", 10_000..12_000);
    tasks.extend((20_000..21_000).map(later));
    tasks.extend([of("z", 1..3), of("a", 3..4)].concat());
    commit(writer.as_mut(), &[(1, 1)], tasks).await.unwrap();
    assert_eq!(ids(&claim(writer.as_mut(), "", 6, 10).await), [3, 10_000, 1, 10_001, 2, 10_002]);
    assert_eq!(ids(&claim(writer.as_mut(), "m", 3, 10).await), [1, 3, 10_000]);
    assert_eq!(writer.next_due(&["echo".into()], at(10)).await.unwrap(), Some(at(500)));
    assert_eq!(claim(writer.as_mut(), "", 5_000, 500).await.len(), 3_003);
    assert_eq!(writer.survey().await.unwrap().backlog, 3_003);
}
