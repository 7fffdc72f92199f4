//! Values that all processes on one Redis share.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quillwork_app::ports::cache::{Cache, CacheKey, Hit, MAX_TTL, Tier, is_storable};

use crate::redis_server::RedisServer;

/// While Redis does not answer, everything is a miss.
#[derive(Clone)]
pub struct RedisCache {
    server: RedisServer,
}

impl RedisCache {
    pub fn new(server: RedisServer) -> Self {
        Self { server }
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn look_up(&self, key: &CacheKey) -> Option<Hit> {
        let name = name(key);
        // In one transaction, so that the time belongs to the value.
        let mut pipeline = redis::pipe();
        pipeline.atomic().get(&name).pttl(&name);
        let (value, ttl_ms): (Option<Vec<u8>>, i64) =
            self.server.call(async |mut connection| pipeline.query_async(&mut connection).await).await?;
        // Negative: somebody has taken the time from the key, and how long it is good is not known.
        let ttl = Duration::from_millis(u64::try_from(ttl_ms).unwrap_or_default());
        value.map(|value| Hit { value: value.into(), ttl, tier: Tier::Redis })
    }

    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration) {
        if !is_storable(&value, ttl) {
            return self.remove(key).await;
        }
        let millis = u64::try_from(ttl.min(MAX_TTL).as_millis()).unwrap_or(u64::MAX);
        let mut command = redis::cmd("SET");
        command.arg(name(key)).arg(&value[..]).arg("PX").arg(millis);
        // Without an answer it is not there the next time, or it is.
        let _: Option<()> =
            self.server.call(async |mut connection| command.query_async(&mut connection).await).await;
    }

    async fn remove(&self, key: &CacheKey) {
        let mut command = redis::cmd("UNLINK");
        command.arg(name(key));
        let _: Option<()> =
            self.server.call(async |mut connection| command.query_async(&mut connection).await).await;
    }
}

fn name(key: &CacheKey) -> String {
    format!("quillwork:cache:{key}")
}
