//! What every cache does, and how the tiers work together.

use std::time::Duration;

use bytes::Bytes;
use quillwork_app::ports::cache::{Cache, CacheKey, MAX_VALUE_BYTES};
use quillwork_providers::cache::memory::MemoryCache;
use quillwork_providers::cache::redis::RedisCache;
use quillwork_providers::cache::tiers::Tiers;
use quillwork_test_servers::Redis;
use uuid::Uuid;

use crate::rate_limiter::server;

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);
const SOON: Duration = Duration::from_millis(50);

fn memory() -> MemoryCache {
    MemoryCache::new(64 * 1024 * 1024)
}

fn redis() -> RedisCache {
    RedisCache::new(server(Redis::shared().url()))
}

fn key() -> CacheKey {
    CacheKey::new("test", &[Uuid::now_v7().as_bytes()])
}

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn expired(cache: &dyn Cache, key: &CacheKey) {
    let gone = async {
        while cache.get(key).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the value should expire");
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
    conforms(&Tiers::new(memory(), redis())).await;
}

/// The contract of the port.
async fn conforms(cache: &dyn Cache) {
    a_value_is_there_until_it_is_removed(cache).await;
    any_bytes_are_a_value(cache).await;
    a_value_lives_as_long_as_it_was_given(cache).await;
    what_cannot_be_stored_leaves_nothing_behind(cache).await;
}

async fn a_value_is_there_until_it_is_removed(cache: &dyn Cache) {
    let [one, other] = [key(), key()];
    assert_eq!(cache.get(&one).await, None);
    cache.put(&one, value("first"), HOUR).await;
    cache.put(&other, value("other"), HOUR).await;
    cache.put(&one, value("second"), HOUR).await;
    assert_eq!(cache.get(&one).await, Some(value("second")));
    cache.remove(&one).await;
    cache.remove(&one).await;
    assert_eq!(cache.get(&one).await, None);
    assert_eq!(cache.get(&other).await, Some(value("other")));
}

async fn any_bytes_are_a_value(cache: &dyn Cache) {
    let all: Bytes = (0..=u8::MAX).collect();
    for value in [Bytes::new(), value("\r\n$-1\r\n"), all, vec![7; 1024 * 1024].into()] {
        let key = key();
        cache.put(&key, value.clone(), Duration::MAX).await;
        assert_eq!(cache.get(&key).await, Some(value));
    }
}

async fn a_value_lives_as_long_as_it_was_given(cache: &dyn Cache) {
    let [short, long, shortened] = [key(), key(), key()];
    cache.put(&long, value("long"), HOUR).await;
    cache.put(&short, value("short"), SOON).await;
    cache.put(&shortened, value("long"), HOUR).await;
    cache.put(&shortened, value("short"), SOON).await;
    expired(cache, &short).await;
    expired(cache, &shortened).await;
    assert_eq!(cache.get(&long).await, Some(value("long")));
}

async fn what_cannot_be_stored_leaves_nothing_behind(cache: &dyn Cache) {
    let [large, dead] = [key(), key()];
    cache.put(&large, value("before"), HOUR).await;
    cache.put(&large, vec![0; MAX_VALUE_BYTES + 1].into(), HOUR).await;
    assert_eq!(cache.get(&large).await, None);
    cache.put(&dead, value("before"), HOUR).await;
    cache.put(&dead, value("now"), Duration::from_micros(999)).await;
    assert_eq!(cache.get(&dead).await, None);
}

#[tokio::test]
async fn processes_on_one_redis_share_values() {
    let [one, other] = [Tiers::new(memory(), redis()), Tiers::new(memory(), redis())];
    let key = key();
    one.put(&key, value("shared"), HOUR).await;
    assert_eq!(other.get(&key).await, Some(value("shared")));
}

#[tokio::test]
async fn what_redis_has_is_kept_in_memory() {
    let behind = redis();
    let (tiers, key) = (Tiers::new(memory(), behind.clone()), key());
    behind.put(&key, value("kept"), HOUR).await;
    assert_eq!(tiers.get(&key).await, Some(value("kept")));
    behind.remove(&key).await;
    assert_eq!(tiers.get(&key).await, Some(value("kept")));
}

#[tokio::test]
async fn memory_keeps_no_value_longer_than_redis() {
    let behind = redis();
    let (tiers, key) = (Tiers::new(memory(), behind.clone()), key());
    behind.put(&key, value("kept"), Duration::from_secs(2)).await;
    assert_eq!(tiers.get(&key).await, Some(value("kept")));
    // From here on only the memory has it.
    behind.remove(&key).await;
    expired(&tiers, &key).await;
}
