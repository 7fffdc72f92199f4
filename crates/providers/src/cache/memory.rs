//! Values of one process, bounded by their bytes.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache as Entries;
use quillwork_app::ports::cache::{Cache, CacheKey, Hit, MAX_TTL, Tier, is_storable};

/// What an entry needs besides its value, about.
const OVERHEAD_BYTES: usize = 256;

/// Forgets what was not used when it is full.
#[derive(Clone)]
pub struct MemoryCache {
    entries: Entries<CacheKey, Entry>,
}

#[derive(Clone)]
struct Entry {
    value: Bytes,
    until: Instant,
}

impl Entry {
    fn ttl(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

/// Each entry lives as long as it was given.
struct ByEntry;

impl Expiry<CacheKey, Entry> for ByEntry {
    fn expire_after_create(&self, _: &CacheKey, entry: &Entry, now: Instant) -> Option<Duration> {
        Some(entry.ttl(now))
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        entry: &Entry,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl(now))
    }
}

impl MemoryCache {
    /// Holds about `max_bytes` at most. A value that is larger by itself is not held.
    pub fn new(max_bytes: u64) -> Self {
        let weigh = |_: &CacheKey, entry: &Entry| {
            u32::try_from(entry.value.len() + OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        Self {
            entries: Entries::builder().max_capacity(max_bytes).weigher(weigh).expire_after(ByEntry).build(),
        }
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn look_up(&self, key: &CacheKey) -> Option<Hit> {
        let entry = self.entries.get(key).await?;
        let ttl = entry.ttl(Instant::now());
        (!ttl.is_zero()).then_some(Hit { value: entry.value, ttl, tier: Tier::Memory })
    }

    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration) {
        if is_storable(&value, ttl) {
            self.entries.insert(*key, Entry { value, until: Instant::now() + ttl.min(MAX_TTL) }).await;
        } else {
            self.remove(key).await;
        }
    }

    async fn remove(&self, key: &CacheKey) {
        self.entries.invalidate(key).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_bounded_by_bytes() {
        let cache = MemoryCache::new(10_000);
        let hour = Duration::from_secs(3_600);
        for index in 0..100_u32 {
            cache.put(&CacheKey::new("test", &[&index.to_le_bytes()]), vec![0; 1_000].into(), hour).await;
        }
        let huge = CacheKey::new("test", &[b"huge"]);
        cache.put(&huge, vec![0; 20_000].into(), hour).await;
        cache.entries.run_pending_tasks().await;
        assert!(cache.entries.weighted_size() <= 10_000, "{}", cache.entries.weighted_size());
        assert!(cache.entries.entry_count() > 0);
        assert_eq!(cache.get(&huge).await, None);
    }
}
