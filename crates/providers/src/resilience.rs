//! What keeps the outside world from hurting us: one [`Guard`] per provider.
//!
//! A call passes, in this order: `not_before` (the provider asked to be left alone), the bulkhead (so many at once), the
//! rate limit (so many per time, shared with other processes), the circuit breaker, and at last the call itself with a
//! few short retries. Whoever cannot pass soon is refused with [`ErrorClass::RateLimited`] and the time at which it is
//! worth trying again: the job then waits in the queue, without a worker and without losing an attempt.
//!
//! [`ErrorClass::RateLimited`]: quillwork_domain::job::ErrorClass::RateLimited

mod breaker;
mod gate;
mod guard;
mod guarded;
mod metrics;
mod retry;

use std::time::Duration;

use quillwork_app::ports::rate_limiter::Rate;

pub use guard::{Guard, Standing};
pub use guarded::{GuardedFetch, GuardedSearch};
pub use metrics::ProviderMetrics;
pub(crate) use retry::shortly;

/// How a provider is treated.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Calls at once; more wait.
    pub concurrency: usize,
    /// Calls at once to one host, for providers that speak to many.
    pub concurrency_per_host: usize,
    /// Calls per time.
    pub rate: Option<Rate>,
    /// The budget of the rate; whoever shares it uses the same rate. By default the provider's own.
    pub rate_key: Option<String>,
    /// After this many failures in a row calls are refused.
    pub failures: u32,
    /// For this long, until one call may try again.
    pub open_for: Duration,
    /// How long a provider is left alone that asks for patience and does not say for how long.
    pub default_pause: Duration,
    /// How long one is left alone whose money or allowance is used up.
    pub quota_pause: Duration,
}

impl Limits {
    /// Five failures in a row close a provider for half a minute; one without money rests for ten.
    pub fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            concurrency_per_host: 4,
            rate: None,
            rate_key: None,
            failures: 5,
            open_for: Duration::from_secs(30),
            default_pause: Duration::from_secs(30),
            quota_pause: Duration::from_secs(600),
        }
    }

    /// For a search provider.
    pub fn search() -> Self {
        Self::new(10)
    }

    /// For fetching pages.
    pub fn fetch() -> Self {
        Self::new(20)
    }

    /// For a language model.
    pub fn model() -> Self {
        Self::new(5)
    }
}

/// A time span for people, rounded up: it is never over when they come.
pub(crate) fn shown(time: Duration) -> String {
    let millis = time.as_millis();
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{} s", millis.div_ceil(1_000)),
        120_000..7_200_000 => format!("{} min", millis.div_ceil(60_000)),
        7_200_000.. => format!("{} h", millis.div_ceil(3_600_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_short_to_read() {
        let cases = [
            (0, "0 ms"),
            (240, "240 ms"),
            (5_289, "6 s"),
            (119_000, "119 s"),
            (600_001, "11 min"),
            (86_400_000, "24 h"),
        ];
        for (millis, expected) in cases {
            assert_eq!(shown(Duration::from_millis(millis)), expected);
        }
    }
}
