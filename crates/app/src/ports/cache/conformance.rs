//! The contract of [`Cache`] as tests, which every adapter runs.
#![expect(clippy::expect_used, reason = "tests assert by panicking")]

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{Cache, CacheKey, MAX_VALUE_BYTES};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);
const SOON: Duration = Duration::from_millis(50);

/// All of the contract, on keys of its own.
pub async fn conforms(cache: &dyn Cache) {
    a_value_is_there_until_it_is_removed(cache).await;
    any_bytes_are_a_value(cache).await;
    a_value_lives_as_long_as_it_was_given(cache).await;
    the_time_that_is_left_is_told(cache).await;
    what_cannot_be_stored_leaves_nothing_behind(cache).await;
}

/// A key that nobody else has.
pub fn key() -> CacheKey {
    CacheKey::new("test", &[Uuid::now_v7().as_bytes()])
}

/// A value from text.
pub fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Waits until the value is gone.
pub async fn expired(cache: &dyn Cache, key: &CacheKey) {
    let gone = async {
        while cache.get(key).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the value should expire");
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

async fn the_time_that_is_left_is_told(cache: &dyn Cache) {
    let key = key();
    cache.put(&key, value("kept"), HOUR).await;
    let hit = cache.look_up(&key).await.expect("it was put");
    assert!(hit.ttl > Duration::ZERO && hit.ttl <= HOUR, "{:?}", hit.ttl);
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
