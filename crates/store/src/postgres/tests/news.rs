//! What a process learns of the others.

use quillwork_app::ports::store::{Batch, LogWatch as _, News, Notice};
use quillwork_domain::id::Position;

use super::*;
use crate::conformance::{TTL, commit, entries, task, waiting as waiting_task};

/// Writes one event of job 1 with `news`.
async fn tell(writer: &mut PostgresWriter, version: u64, news: News) {
    let head = writer.survey().await.unwrap().head;
    let batch = Batch { entries: entries(head, &[(1, version)]), news, ..Batch::default() };
    writer.commit(head, &batch).await.unwrap();
}

fn waiting(handlers: &[&str]) -> News {
    News { waiting: handlers.iter().map(|name| (*name).into()).collect(), cancelled: false }
}

/// A look every ten minutes: only notifications are heard in time.
fn listening(server: &OnServer) -> PostgresWatch {
    watch(&PostgresConfig { poll_interval: TTL, ..server.config() }).unwrap()
}

#[tokio::test]
async fn others_are_told_what_is_new() {
    let server = OnServer::direct();
    let _reader = server.opened().await;
    let mut watch = listening(&server);
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) });
    let (mut one, mut two) = (server.writer(), server.writer());
    one.open_lease("one", TTL).await.unwrap();
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) }, "somebody came");
    tell(&mut two, 1, waiting(&["write", "echo"])).await;
    let written = |head, news| Notice::Written { before: Position(head - 1), head: Position(head), news };
    assert_eq!(soon(watch.next()).await, written(1, waiting(&["echo", "write"])));
    tell(&mut two, 2, News { cancelled: true, ..News::default() }).await;
    assert_eq!(soon(watch.next()).await, written(2, News { cancelled: true, ..News::default() }));
}

/// A writer that is alone tells nobody. Whoever comes then must not take the next word for all that happened.
#[tokio::test]
async fn what_was_written_in_silence_is_not_passed_over() {
    let server = OnServer::direct();
    let _reader = server.opened().await;
    let (mut one, mut two) = (server.writer(), server.writer());
    let mut watch = listening(&server);
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) });
    one.open_lease("one", TTL).await.unwrap();
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) });
    tell(&mut one, 1, waiting(&["silent"])).await;
    tell(&mut two, 2, waiting(&["told"])).await;
    let told = |before, head| Notice::Written {
        before: Position(before),
        head: Position(head),
        news: waiting(&["told"]),
    };
    // It begins later than what is known ends.
    assert_eq!(soon(watch.next()).await, told(1, 2));
    tell(&mut two, 3, waiting(&["told"])).await;
    assert_eq!(soon(watch.next()).await, told(2, 3));
}

/// Nobody is woken for what nobody wants to hear of.
#[tokio::test]
async fn workers_hear_of_work_alone() {
    let server = OnServer::direct();
    let _reader = server.opened().await;
    let config = PostgresConfig { hears: Hears::Work, poll_interval: TTL, ..server.config() };
    let (mut worker, mut api) = (writer(&config).unwrap(), server.writer());
    let mut watch = watch(&config).unwrap();
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) });
    worker.open_lease("worker", TTL).await.unwrap();
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) });
    tell(&mut api, 1, News::default()).await;
    tell(&mut api, 2, News::default()).await;
    tell(&mut api, 3, waiting(&["echo"])).await;
    let written =
        |before, head, news| Notice::Written { before: Position(before), head: Position(head), news };
    assert_eq!(soon(watch.next()).await, written(0, 3, waiting(&["echo"])));
    // Until somebody comes who wants to hear more.
    let mut other = server.writer();
    other.open_lease("projector", TTL).await.unwrap();
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(3) });
    tell(&mut api, 4, News::default()).await;
    assert_eq!(soon(watch.next()).await, written(3, 4, News::default()));
}

#[tokio::test]
async fn what_nobody_tells_is_found() {
    for (server, hears) in [
        (OnServer::direct(), Hears::All),
        (OnServer::pooled(), Hears::All),
        (OnServer::pooled(), Hears::Work),
    ] {
        let _reader = server.opened().await;
        let mut watch = watch(&PostgresConfig { hears, ..server.config() }).unwrap();
        assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) });
        let mut alone = server.writer();
        tell(&mut alone, 1, waiting(&["echo"])).await;
        assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(1) });
        // A task that waits again, in a batch without events.
        commit(&mut alone, &[(1, 2)], vec![]).await.unwrap();
        assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(2) });
    }
}

/// A worker learns of tasks of which nobody told, and how far the log is, and takes silence for nothing else.
#[tokio::test]
async fn a_worker_finds_tasks_that_nobody_tells_of() {
    let server = OnServer::direct();
    let _reader = server.opened().await;
    let (mut silent, mut telling) = (server.writer(), server.writer());
    let mut watch = watch(&PostgresConfig { hears: Hears::Work, ..server.config() }).unwrap();
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) });
    let (before, head) = (Position(0), Position(1));
    commit(&mut silent, &[(1, 1)], vec![]).await.unwrap();
    assert_eq!(soon(watch.next()).await, Notice::Written { before, head, news: News::default() });
    // A task that waits, of which nobody tells; then another commit that is told.
    commit(&mut silent, &[(1, 2)], vec![waiting_task(task(1, 0, 1))]).await.unwrap();
    telling.open_lease("telling", TTL).await.unwrap();
    silent.survey().await.unwrap();
    tell(&mut silent, 3, waiting(&["told"])).await;
    // First or last, as the look comes before or after the words.
    let is_found = |notice| matches!(notice, Notice::Unknown { head } if head >= Position(2));
    soon(async { while !is_found(watch.next().await) {} }).await;
}

/// Whoever waits for one of several things stops waiting all the time.
#[tokio::test]
async fn nothing_is_lost_by_whoever_stops_waiting() {
    let server = OnServer::direct();
    let _reader = server.opened().await;
    let mut watch =
        watch(&PostgresConfig { poll_interval: Duration::from_millis(1), ..server.config() }).unwrap();
    let mut writer = server.writer();
    for version in 1..=50 {
        tell(&mut writer, version, News::default()).await;
        for wait in 0..20_u64 {
            let _ = tokio::time::timeout(Duration::from_micros(wait * 50), watch.next()).await;
        }
    }
    tell(&mut writer, 51, News::default()).await;
    soon(async { while watch.next().await != (Notice::Unknown { head: Position(51) }) {} }).await;
}

#[tokio::test]
async fn a_watch_comes_back_after_its_connection_was_ended() {
    let server = OnServer::direct();
    let _reader = server.opened().await;
    let mut watch = listening(&server);
    soon(watch.next()).await;
    Postgres::shared().terminate_connections(server.database.name());
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) });
}
