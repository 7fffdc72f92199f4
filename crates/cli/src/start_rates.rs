//! How often stages start: for all processes on one Redis, or for this one.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use quillwork_app::ports::rate_limiter::RateLimiter;
use quillwork_providers::rate_limit::memory::MemoryLimiter;
use quillwork_providers::rate_limit::redis::RedisLimiter;
use quillwork_providers::redis_server::{CALL_TIMEOUT, RedisServer};
use quillwork_worker::start_rate::StartRate;

use crate::config::Settings;

/// By handler; those without a rate are absent.
pub(crate) type StartRates = BTreeMap<String, Arc<StartRate>>;

/// The rates that are configured. Redis is first asked when a stage starts that has one.
pub(crate) fn of(settings: &Settings) -> anyhow::Result<StartRates> {
    let limiter: Arc<dyn RateLimiter> = match &settings.redis {
        Some(url) => {
            Arc::new(RedisLimiter::new(RedisServer::new(url.clone(), CALL_TIMEOUT).context("redis")?))
        }
        None => Arc::new(MemoryLimiter::default()),
    };
    let mut rates = StartRates::new();
    for (handler, stage) in &settings.stages {
        let rate = stage
            .start_rate()
            .map_err(|(key, reason)| anyhow::anyhow!("stages.{handler}.{key}: {reason}"))?;
        if let Some(rate) = rate {
            rates.insert(handler.clone(), Arc::new(StartRate::new(limiter.clone(), handler, rate)));
        }
    }
    Ok(rates)
}

/// Gives back what waits for its turn.
pub(crate) fn close(rates: &StartRates) {
    rates.values().for_each(|rate| rate.close());
}
