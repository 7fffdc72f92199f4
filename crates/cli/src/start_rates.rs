//! How often stages start: for all processes on one Redis, or for this one.

use std::collections::BTreeMap;
use std::sync::Arc;

use quillwork_app::ports::rate_limiter::RateLimiter;
use quillwork_worker::start_rate::StartRate;

use crate::config::{Frequency, Settings};

/// By handler; those without a rate are absent.
pub(crate) type StartRates = BTreeMap<String, Arc<StartRate>>;

/// The rates that are configured, kept by `limiter`.
pub(crate) fn of(settings: &Settings, limiter: &Arc<dyn RateLimiter>) -> anyhow::Result<StartRates> {
    let mut rates = StartRates::new();
    for (handler, stage) in &settings.stages {
        let rate = Frequency::rate(stage.rate, stage.burst)
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
