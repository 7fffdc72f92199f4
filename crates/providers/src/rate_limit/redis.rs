//! Budgets that all processes on one Redis share.

use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::rate_limiter::{Decision, Rate, RateLimiter};
use redis::Script;
use sha2::{Digest as _, Sha256};

use crate::rate_limit::memory::MemoryLimiter;
use crate::redis_server::RedisServer;

/// The time is that of Redis: the clocks of the processes do not matter.
const CLOCK: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";
const GCRA: &str = include_str!("gcra.lua");

/// Counts in Redis, and in this process for as long as Redis does not answer.
pub struct RedisLimiter {
    server: RedisServer,
    script: Script,
    local: MemoryLimiter,
}

impl RedisLimiter {
    pub fn new(server: RedisServer) -> Self {
        Self { server, script: Script::new(&[CLOCK, GCRA].concat()), local: MemoryLimiter::default() }
    }
}

#[async_trait]
impl RateLimiter for RedisLimiter {
    async fn acquire(&self, key: &str, rate: Rate, n: u32) -> Decision {
        if n > rate.burst() {
            return Decision::NEVER;
        }
        let mut invocation = self.script.prepare_invoke();
        invocation.key(name(key)).arg(rate.interval_micros()).arg(rate.burst()).arg(n);
        let wait_micros: Option<u64> =
            self.server.call(async |mut connection| invocation.invoke_async(&mut connection).await).await;
        match wait_micros {
            Some(0) => Decision::Allowed,
            Some(wait) => Decision::Denied { retry_after: Duration::from_micros(wait) },
            None => self.local.take(key, rate, n),
        }
    }
}

/// The key in Redis: a digest, because keys are any text of any length.
fn name(key: &str) -> String {
    let digest = Sha256::digest(key);
    digest.iter().fold("quillwork:rate:".to_owned(), |name, byte| name + &format!("{byte:02x}"))
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quillwork_app::gcra::gcra;
    use quillwork_test_servers::Redis;

    use super::*;

    /// A time like those of our days: its digits are what Lua could lose.
    const NOW: u64 = 1_790_000_000_123_456;

    /// The clock and the key are the test's.
    const BEFORE: &str = "
        local now, stored = tonumber(ARGV[4]), ARGV[5]
        local redis = { call = function(command, _, value)
            if command == 'GET' then return stored end
            stored = value
        end }
        local function decide()
    ";
    const AFTER: &str = "
        end
        return { decide(), stored }
    ";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_script_decides_like_the_function(
            count in 1..=10_000_u32,
            seconds in 1..=3_600_u64,
            burst in 1..=100_u32,
            requests in prop::collection::vec((0..=30_u64, 0..=10_u32), 1..40),
        ) {
            let script = Script::new(&[BEFORE, GCRA, AFTER].concat());
            let mut connection = redis::Client::open(Redis::shared().url()).unwrap().get_connection().unwrap();
            let rate = Rate::new(count, Duration::from_secs(seconds), burst).unwrap();
            let (mut tat, mut now, mut stored) = (0, NOW, "0".to_owned());
            for (tenths, n) in requests {
                now += rate.interval_micros() * tenths / 10;
                let n = n.min(burst);
                let (decision, next) = gcra(tat, now, rate, n);
                let mut invocation = script.key("key");
                invocation.arg(rate.interval_micros()).arg(burst).arg(n).arg(now).arg(&stored);
                let wait: u64;
                (wait, stored) = invocation.invoke(&mut connection).unwrap();
                let expected = match decision {
                    Decision::Allowed => Duration::ZERO,
                    Decision::Denied { retry_after } => retry_after,
                };
                prop_assert_eq!(Duration::from_micros(wait), expected);
                // What was not taken need not be stored; a time in the past is as good as none.
                prop_assert_eq!(stored.parse::<u64>().unwrap().max(now), next.max(now));
                tat = next;
            }
        }
    }
}
