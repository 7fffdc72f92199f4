//! What is counted of calls to the outside world.

use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quillwork_app::ports::model::TokenUsage;
use tokio::time::Instant;

use super::breaker::Breaker;
use super::gate::Gate;

/// Upper bounds in seconds: a local search takes milliseconds, a long answer minutes.
const BUCKETS: [f64; 12] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 180.0, 600.0];

/// Counters of all providers of this process. Cheap to clone.
///
/// Labels are names from the configuration, so that their number is bounded.
#[derive(Clone, Debug)]
pub struct ProviderMetrics {
    calls: Family<Answer, Counter>,
    in_flight: Family<Provider, Gauge>,
    waiting: Family<Provider, Gauge>,
    durations: Family<Provider, Histogram, fn() -> Histogram>,
    breaker: Family<Provider, Gauge>,
    not_before: Family<Provider, Gauge>,
    tokens: Family<Tokens, Counter>,
    cost_micros: Family<Model, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Provider {
    provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    provider: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    provider: String,
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    provider: String,
    model: String,
    direction: &'static str,
}

impl Default for ProviderMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            in_flight: Family::default(),
            waiting: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            breaker: Family::default(),
            not_before: Family::default(),
            tokens: Family::default(),
            cost_micros: Family::default(),
        }
    }
}

impl ProviderMetrics {
    /// Counters that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "quillwork_provider_calls",
            "Calls by their outcome; `refused` ones were not made, and `dropped` ones given up",
            metrics.calls.clone(),
        );
        let help = "Calls that are being made";
        registry.register("quillwork_provider_in_flight", help, metrics.in_flight.clone());
        let help = "Calls that wait for a slot or their turn";
        registry.register("quillwork_provider_waiting", help, metrics.waiting.clone());
        let help = "Time that a call took, with its short retries and without waiting";
        registry.register("quillwork_provider_call_seconds", help, metrics.durations.clone());
        let help = "0: calls pass; 1: one call tries; 2: calls are refused because the last ones failed";
        registry.register("quillwork_provider_breaker_state", help, metrics.breaker.clone());
        let help = "The Unix time until which the provider is left alone; 0 or past: it is asked";
        registry.register("quillwork_provider_not_before_seconds", help, metrics.not_before.clone());
        let help = "Tokens that were billed, or estimated where the provider did not count";
        registry.register("quillwork_provider_tokens", help, metrics.tokens.clone());
        let help = "Millionths of a US dollar by the price table";
        registry.register("quillwork_provider_cost_micros", help, metrics.cost_micros.clone());
        metrics
    }

    pub(super) fn called(&self, provider: &str, outcome: &'static str, elapsed: Duration) {
        self.ended(provider, outcome);
        self.durations.get_or_create(&named(provider)).observe(elapsed.as_secs_f64());
    }

    pub(super) fn ended(&self, provider: &str, outcome: &'static str) {
        self.calls.get_or_create(&Answer { provider: provider.to_owned(), outcome }).inc();
    }

    pub(super) fn in_flight(&self, provider: &str) -> Counted {
        Counted::new(self.in_flight.get_or_create_owned(&named(provider)))
    }

    pub(super) fn waiting(&self, provider: &str) -> Counted {
        Counted::new(self.waiting.get_or_create_owned(&named(provider)))
    }

    pub(super) fn gate(&self, provider: &str, gate: &Gate, now: Instant) {
        let state = match gate.breaker {
            Breaker::Closed { .. } => 0,
            Breaker::HalfOpen { .. } => 1,
            Breaker::Open { .. } => 2,
        };
        self.breaker.get_or_create(&named(provider)).set(state);
        let left = gate.paused_for(now);
        let until = (SystemTime::now() + left).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = if left.is_zero() { 0 } else { until.as_secs() };
        self.not_before.get_or_create(&named(provider)).set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// Counts what a model was paid for; `model` is the one from the configuration.
    pub fn billed(&self, provider: &str, model: &str, usage: TokenUsage, cost_micros: u64) {
        for (direction, n) in [("input", usage.input), ("output", usage.output)] {
            let label = Tokens { provider: provider.to_owned(), model: model.to_owned(), direction };
            self.tokens.get_or_create(&label).inc_by(n);
        }
        let label = Model { provider: provider.to_owned(), model: model.to_owned() };
        self.cost_micros.get_or_create(&label).inc_by(cost_micros);
    }
}

fn named(provider: &str) -> Provider {
    Provider { provider: provider.to_owned() }
}

/// Counts one in a gauge for as long as it lives.
pub(super) struct Counted(Gauge);

impl Counted {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
