//! What every cache does, and how the tiers work together.

use std::sync::Arc;
use std::time::Duration;

use quillwork_app::ports::cache::Cache as _;
use quillwork_app::ports::cache::conformance::{conforms, expired, key, value};
use quillwork_providers::cache::memory::MemoryCache;
use quillwork_providers::cache::redis::RedisCache;
use quillwork_providers::cache::tiers::Tiers;
use quillwork_test_servers::Redis;

use crate::rate_limiter::server;

const HOUR: Duration = Duration::from_secs(3_600);

fn memory() -> MemoryCache {
    MemoryCache::new(64 * 1024 * 1024)
}

/// This process before Redis.
fn tiers() -> Tiers {
    Tiers::new(vec![Arc::new(memory()), Arc::new(redis())])
}

fn redis() -> RedisCache {
    RedisCache::new(server(Redis::shared().url()))
}

#[tokio::test]
async fn memory_conforms() {
    conforms(&memory()).await;
}

#[tokio::test]
async fn redis_conforms() {
    conforms(&redis()).await;
}

#[tokio::test]
async fn tiers_conform() {
    conforms(&tiers()).await;
}

#[tokio::test]
async fn processes_on_one_redis_share_values() {
    let [one, other] = [tiers(), tiers()];
    let key = key();
    one.put(&key, value("shared"), HOUR).await;
    assert_eq!(other.get(&key).await, Some(value("shared")));
}

#[tokio::test]
async fn what_redis_has_is_kept_in_memory() {
    let behind = redis();
    let (tiers, key) = (Tiers::new(vec![Arc::new(memory()), Arc::new(behind.clone())]), key());
    behind.put(&key, value("kept"), HOUR).await;
    assert_eq!(tiers.get(&key).await, Some(value("kept")));
    behind.remove(&key).await;
    assert_eq!(tiers.get(&key).await, Some(value("kept")));
}

#[tokio::test]
async fn memory_keeps_no_value_longer_than_redis() {
    let behind = redis();
    let (tiers, key) = (Tiers::new(vec![Arc::new(memory()), Arc::new(behind.clone())]), key());
    behind.put(&key, value("kept"), Duration::from_secs(2)).await;
    assert_eq!(tiers.get(&key).await, Some(value("kept")));
    // From here on only the memory has it.
    behind.remove(&key).await;
    expired(&tiers, &key).await;
}
