//! How often the cache had the answer.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use quillwork_app::ports::cache::Tier;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    kind: &'static str,
    outcome: &'static str,
}

/// Counts requests by their kind and where the answer came from. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CacheMetrics {
    requests: Family<Request, Counter>,
}

/// Where the answer to a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Hit(Tier),
    /// Another request of this process was asking the same, and its answer served both.
    Joined,
    /// The provider was asked.
    Miss,
    /// The provider was asked because the job wanted it so.
    Bypass,
}

impl CacheMetrics {
    /// Counters that `registry` shows as `quillwork_cache_requests_total`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "quillwork_cache_requests",
            "Requests that the cache was asked for, by where the answer came from",
            metrics.requests.clone(),
        );
        metrics
    }

    pub(super) fn count(&self, kind: &'static str, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Hit(Tier::Memory) => "hit_memory",
            Outcome::Hit(Tier::Redis) => "hit_redis",
            Outcome::Hit(Tier::Store) => "hit_store",
            Outcome::Joined => "joined",
            Outcome::Miss => "miss",
            Outcome::Bypass => "bypass",
        };
        self.requests.get_or_create(&Request { kind, outcome }).inc();
    }
}
