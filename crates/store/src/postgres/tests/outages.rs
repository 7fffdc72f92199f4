//! Servers that go and come back, and processes that say nothing any more.

use quillwork_app::ports::store::{Batch, CommitError, Head, LogWatch as _, Notice};
use quillwork_domain::id::Position;

use super::*;
use crate::conformance::{TTL, commit, entries};

/// Asks until there is an answer.
macro_rules! until_ok {
    ($ask:expr) => {
        soon(async {
            loop {
                match $ask.await {
                    Ok(answer) => break answer,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await
    };
}

#[tokio::test]
async fn everyone_recovers_from_a_crash_of_the_server() {
    let server = Arc::new(Postgres::start());
    let database = server.database();
    let config = config(database.url(), false);
    let reader = open(&config, true).await.unwrap().reader;
    let mut writer = writer(&config).unwrap();
    let mut watch = watch(&config).unwrap();
    assert_eq!(soon(watch.next()).await, Notice::Unknown { head: Position(0) });
    let lease = writer.open_lease("me", TTL).await.unwrap();
    commit(&mut writer, &[(1, 1)], vec![]).await.unwrap();
    let head = reader.head().await.unwrap();

    let crashing = server.clone();
    tokio::task::spawn_blocking(move || crashing.stop_immediate()).await.unwrap();
    for error in [writer.survey().await.map(drop), reader.head().await.map(drop)] {
        let error = error.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    let starting = server.clone();
    tokio::task::spawn_blocking(move || starting.start_again()).await.unwrap();

    assert_eq!(until_ok!(writer.survey()).head, head);
    assert_eq!(until_ok!(reader.head()), head);
    assert!(writer.renew_lease(lease, TTL).await.unwrap());
    commit(&mut writer, &[(1, 2)], vec![]).await.unwrap();
    let known = async { while soon(watch.next()).await != (Notice::Unknown { head: Position(2) }) {} };
    soon(known).await;
}

/// As a process that is stopped, or whose machine is gone.
#[tokio::test]
async fn whoever_holds_the_lock_and_says_nothing_loses_it() {
    for server in [OnServer::direct(), OnServer::pooled()] {
        let reader = server.opened().await;
        let (mut silent, mut other) = (server.writer(), server.writer());
        let late = Batch { entries: entries(Head::EMPTY, &[(1, 1)]), ..Batch::default() };
        assert_eq!(silent.lock().await.unwrap().head, Head::EMPTY);
        let survey = soon(other.lock()).await.unwrap();
        assert_eq!(survey.head, Head::EMPTY);
        let batch = Batch { entries: entries(Head::EMPTY, &[(2, 1)]), ..Batch::default() };
        other.commit(Head::EMPTY, &batch).await.unwrap();
        let after = reader.head().await.unwrap();
        let error = silent.commit(Head::EMPTY, &late).await.unwrap_err();
        assert!(matches!(error, CommitError::Store(StoreError::Unavailable(_))), "{error:?}");
        assert_eq!(silent.survey().await.unwrap().head, after);
        assert!(matches!(silent.commit(Head::EMPTY, &late).await, Err(CommitError::HeadMoved)));
        assert_eq!(reader.head().await.unwrap(), after);
    }
}

#[tokio::test]
async fn the_lock_keeps_others_out_until_it_is_given_back() {
    for server in [OnServer::direct(), OnServer::pooled()] {
        let _reader = server.opened().await;
        let (mut first, mut second) = (server.writer(), server.writer());
        // So that both are connected: a new connection waits for the lock as well.
        first.survey().await.unwrap();
        second.survey().await.unwrap();
        first.lock().await.unwrap();
        let waiting = tokio::spawn(async move {
            let survey = second.lock().await.unwrap();
            (second, survey)
        });
        let blocked = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                       WHERE NOT l.granted AND a.datname = current_database()";
        soon(async {
            while server.psql(blocked).trim() == "0" {
                first.survey().await.unwrap();
            }
        })
        .await;
        assert!(!waiting.is_finished());
        let batch = Batch { entries: entries(Head::EMPTY, &[(1, 1)]), ..Batch::default() };
        first.commit(Head::EMPTY, &batch).await.unwrap();
        let (mut second, survey) = soon(waiting).await.unwrap();
        assert_eq!(survey.head.position, Position(1), "what was written during the wait is seen");
        second.unlock().await.unwrap();
        assert_eq!(soon(first.lock()).await.unwrap().head, survey.head);
    }
}

#[tokio::test]
async fn others_that_live_are_seen() {
    let server = OnServer::direct();
    let _reader = server.opened().await;
    let (mut one, mut two) = (server.writer(), server.writer());
    assert!(!one.survey().await.unwrap().shared);
    let mine = one.open_lease("one", TTL).await.unwrap();
    assert!(!one.survey().await.unwrap().shared, "not by itself");
    assert!(two.survey().await.unwrap().shared);
    let theirs = two.open_lease("two", TTL).await.unwrap();
    assert!(one.survey().await.unwrap().shared);
    two.close_lease(theirs).await.unwrap();
    assert!(!one.lock().await.unwrap().shared);
    one.unlock().await.unwrap();
    one.renew_lease(mine, Duration::ZERO).await.unwrap();
    soon(async { while two.survey().await.unwrap().shared {} }).await;
}

/// The server ends every connection, as before a restart.
#[tokio::test]
async fn connections_that_were_ended_are_replaced() {
    for server in [OnServer::direct(), OnServer::pooled()] {
        let reader = server.opened().await;
        let mut writer = server.writer();
        for version in 1..4 {
            until_ok!(writer.survey());
            let head = until_ok!(reader.head());
            let batch = Batch { entries: entries(head, &[(1, version)]), ..Batch::default() };
            writer.commit(head, &batch).await.unwrap();
            Postgres::shared().terminate_connections(server.database.name());
        }
        assert_eq!(until_ok!(reader.head()).position, Position(3));
    }
}
