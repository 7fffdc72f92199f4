//! The memory of this process before the Redis of all.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quillwork_app::ports::cache::{Cache, CacheKey};

use crate::cache::memory::MemoryCache;
use crate::cache::redis::RedisCache;

/// What Redis has is also kept here, and never longer than there.
///
/// Removed values stay in the memory of other processes until their time is up.
pub struct Tiers {
    memory: MemoryCache,
    redis: RedisCache,
}

impl Tiers {
    pub fn new(memory: MemoryCache, redis: RedisCache) -> Self {
        Self { memory, redis }
    }
}

#[async_trait]
impl Cache for Tiers {
    async fn get(&self, key: &CacheKey) -> Option<Bytes> {
        if let Some(value) = self.memory.get(key).await {
            return Some(value);
        }
        let (value, ttl) = self.redis.get_with_ttl(key).await?;
        self.memory.put(key, value.clone(), ttl).await;
        Some(value)
    }

    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration) {
        self.memory.put(key, value.clone(), ttl).await;
        self.redis.put(key, value, ttl).await;
    }

    async fn remove(&self, key: &CacheKey) {
        // First there, so that nobody fills the memory from it again.
        self.redis.remove(key).await;
        self.memory.remove(key).await;
    }
}
