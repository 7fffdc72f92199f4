//! Several caches as one: the near and small before the far and large.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quillwork_app::ports::cache::{Cache, CacheKey, Hit};

/// What a tier has is also kept in those before it, and never longer than there.
///
/// Removed values stay in the memory of other processes until their time is up.
#[derive(Clone)]
pub struct Tiers {
    /// The nearest first.
    tiers: Vec<Arc<dyn Cache>>,
}

impl Tiers {
    /// The nearest first. Without any, everything is a miss.
    pub fn new(tiers: Vec<Arc<dyn Cache>>) -> Self {
        Self { tiers }
    }

    /// Fills the nearest tier with what was used last in those behind it, up to about `max_bytes`; returns how many
    /// values that were. For the start of a process, in the background.
    pub async fn warm_up(&self, namespaces: &[&'static str], max_bytes: u64) -> usize {
        let Some((nearest, behind)) = self.tiers.split_first() else { return 0 };
        let mut warmed = 0;
        for tier in behind {
            let recent = tier.recent(namespaces, max_bytes).await;
            warmed += recent.len();
            // The newest last, so that it is the last to be forgotten.
            for (key, hit) in recent.into_iter().rev() {
                nearest.put(&key, hit.value, hit.ttl).await;
            }
        }
        tracing::debug!(values = warmed, "warmed the cache up");
        warmed
    }
}

#[async_trait]
impl Cache for Tiers {
    async fn look_up(&self, key: &CacheKey) -> Option<Hit> {
        for (index, tier) in self.tiers.iter().enumerate() {
            if let Some(hit) = tier.look_up(key).await {
                for nearer in &self.tiers[..index] {
                    nearer.put(key, hit.value.clone(), hit.ttl).await;
                }
                return Some(hit);
            }
        }
        None
    }

    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration) {
        for tier in &self.tiers {
            tier.put(key, value.clone(), ttl).await;
        }
    }

    async fn remove(&self, key: &CacheKey) {
        // The farthest first, so that nobody fills the nearer ones from it again.
        for tier in self.tiers.iter().rev() {
            tier.remove(key).await;
        }
    }

    async fn recent(&self, namespaces: &[&'static str], max_bytes: u64) -> Vec<(CacheKey, Hit)> {
        for tier in &self.tiers {
            let recent = tier.recent(namespaces, max_bytes).await;
            if !recent.is_empty() {
                return recent;
            }
        }
        Vec::new()
    }
}
