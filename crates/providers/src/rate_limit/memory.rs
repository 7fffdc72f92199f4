//! Budgets of one process.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use lru::LruCache;
use quillwork_app::gcra::gcra;
use quillwork_app::ports::rate_limiter::{Decision, Rate, RateLimiter};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// With more keys in use, the one that was idle longest starts again with a full budget.
const MAX_KEYS: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Keys that were idle until their budget was full again leave, a few with each call.
pub struct MemoryLimiter {
    start: Instant,
    /// The theoretical arrival time by digest of the key: keys may be long.
    tats: Mutex<LruCache<[u8; 32], u64>>,
}

impl Default for MemoryLimiter {
    fn default() -> Self {
        Self { start: Instant::now(), tats: Mutex::new(LruCache::new(MAX_KEYS)) }
    }
}

impl MemoryLimiter {
    /// The same as [`RateLimiter::acquire`], at once.
    pub fn take(&self, key: &str, rate: Rate, n: u32) -> Decision {
        let key: [u8; 32] = Sha256::digest(key).into();
        let mut tats = self.tats.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that times are in order.
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        for _ in 0..2 {
            if tats.peek_lru().is_some_and(|(_, tat)| *tat <= now) {
                tats.pop_lru();
            }
        }
        let tat = tats.get(&key).copied().unwrap_or_default();
        let (decision, next) = gcra(tat, now, rate, n);
        if next > now {
            tats.put(key, next);
        }
        decision
    }
}

#[async_trait]
impl RateLimiter for MemoryLimiter {
    async fn acquire(&self, key: &str, rate: Rate, n: u32) -> Decision {
        self.take(key, rate, n)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn n_keys(limiter: &MemoryLimiter) -> usize {
        limiter.tats.lock().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn idle_keys_leave() {
        let limiter = MemoryLimiter::default();
        let rate = Rate::new(1, Duration::from_secs(1), 1).unwrap();
        for key in 0..1_000 {
            assert_eq!(limiter.take(&key.to_string(), rate, 1), Decision::Allowed);
        }
        assert_eq!(n_keys(&limiter), 1_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..500 {
            limiter.take("busy", rate, 1);
        }
        assert_eq!(n_keys(&limiter), 1, "only the busy key is left");
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_keys_is_bounded() {
        let limiter = MemoryLimiter::default();
        let rate = Rate::new(1, Duration::from_secs(3_600), 1).unwrap();
        for key in 0..MAX_KEYS.get() + 10 {
            assert_eq!(limiter.take(&key.to_string(), rate, 1), Decision::Allowed);
        }
        assert_eq!(n_keys(&limiter), MAX_KEYS.get());
    }

    #[tokio::test(start_paused = true)]
    async fn time_fills_the_budget() {
        let limiter = MemoryLimiter::default();
        let rate = Rate::new(60, Duration::from_secs(60), 2).unwrap();
        let take = || limiter.take("key", rate, 1);
        let denied = |millis| Decision::Denied { retry_after: Duration::from_millis(millis) };
        assert_eq!([take(), take(), take()], [Decision::Allowed, Decision::Allowed, denied(1_000)]);
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(take(), denied(600));
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!([take(), take()], [Decision::Allowed, denied(1_000)]);
    }
}
