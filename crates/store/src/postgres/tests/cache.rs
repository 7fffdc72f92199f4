//! The contract of the cache in a table, and what a fleet does to it.

use quillwork_app::ports::cache::conformance::{conforms, key, value};
use quillwork_app::ports::cache::{Cache as _, CacheKey};

use super::*;

const MIB: u64 = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(3_600);

async fn on(server: &OnServer, max_bytes: u64) -> PostgresCache {
    migrate(&server.config()).await.unwrap();
    PostgresCache::new(&server.config(), max_bytes).unwrap()
}

fn numbered(n: u32) -> CacheKey {
    CacheKey::new("test", &[&n.to_le_bytes()])
}

#[tokio::test]
async fn a_table_conforms() {
    for server in [OnServer::direct(), OnServer::pooled()] {
        conforms(&on(&server, 64 * MIB).await).await;
    }
}

#[tokio::test]
async fn processes_share_values() {
    let server = OnServer::direct();
    let [one, other] = [on(&server, MIB).await, on(&server, MIB).await];
    let key = key();
    one.put(&key, value("shared"), HOUR).await;
    assert_eq!(other.get(&key).await, Some(value("shared")));
}

#[tokio::test]
async fn what_was_not_used_for_longest_is_forgotten_first() {
    let server = OnServer::direct();
    let cache = on(&server, 10_000).await;
    for n in 0..30 {
        cache.put(&numbered(n), vec![0; 1_000].into(), HOUR).await;
        // Used with every other: never the oldest.
        cache.get(&numbered(0)).await;
        let sum = server.psql("SELECT coalesce(sum(bytes), 0) <= 10000 FROM quillwork.cache_entries");
        assert_eq!(sum, "t");
    }
    assert!(cache.get(&numbered(0)).await.is_some());
    assert!(cache.get(&numbered(29)).await.is_some());
    assert_eq!(cache.get(&numbered(1)).await, None);
}

#[tokio::test]
async fn what_has_expired_leaves_the_table_when_others_come() {
    let server = OnServer::direct();
    let cache = on(&server, MIB).await;
    for n in 0..10 {
        cache.put(&numbered(n), value("short"), HOUR).await;
    }
    server.psql("UPDATE quillwork.cache_entries SET expires_at = quillwork.clock_ms() - 1");
    for n in 10..13 {
        cache.put(&numbered(n), value("long"), HOUR).await;
    }
    assert_eq!(server.psql("SELECT count(*) FROM quillwork.cache_entries"), "3");
}

#[tokio::test]
async fn what_was_used_last_is_there_for_a_new_process() {
    let server = OnServer::direct();
    let cache = on(&server, MIB).await;
    for n in 0..4 {
        cache.put(&numbered(n), vec![0; 1_000].into(), HOUR).await;
        server.psql("UPDATE quillwork.cache_entries SET used_at = used_at - 1000");
    }
    cache.put(&CacheKey::new("other", &[]), value("other"), HOUR).await;
    cache.get(&numbered(1)).await;
    let keys = async |namespaces: &[&'static str], max_bytes| {
        let recent = cache.recent(namespaces, max_bytes).await;
        recent.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&["test"], 3_000).await, [numbered(1), numbered(3)]);
    assert_eq!(keys(&["test", "other"], MIB).await.len(), 5);
    assert_eq!(keys(&[], MIB).await, []);
}

#[tokio::test]
async fn a_crash_of_the_server_costs_the_values_only() {
    let server = Arc::new(Postgres::start());
    let database = server.database();
    let config = config(database.url(), false);
    migrate(&config).await.unwrap();
    let (cache, key) = (PostgresCache::new(&config, MIB).unwrap(), key());
    cache.put(&key, value("before"), HOUR).await;
    let crashing = server.clone();
    tokio::task::spawn_blocking(move || crashing.stop_immediate()).await.unwrap();
    assert_eq!(cache.get(&key).await, None);
    cache.put(&key, value("lost"), HOUR).await;
    let starting = server.clone();
    tokio::task::spawn_blocking(move || starting.start_again()).await.unwrap();
    soon(async {
        while cache.get(&key).await.is_none() {
            cache.put(&key, value("after"), HOUR).await;
        }
    })
    .await;
    assert_eq!(cache.get(&key).await, Some(value("after")));
}
