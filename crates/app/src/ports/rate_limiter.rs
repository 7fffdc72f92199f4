//! Limiting how often something is done, across all processes that share a limiter.

use std::time::Duration;

use async_trait::async_trait;

/// Counts against budgets by key.
///
/// It cannot fail: an adapter that does not reach its server decides by a limiter of its own process, so that work
/// goes on. The budget is per process then. Keys are any text; how [`crate::gcra`] counts is the same everywhere.
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Takes `n` from the budget of `key`, or nothing at all.
    ///
    /// Whoever uses a key uses it with one rate. Taking 0 is always allowed; more than the burst never is.
    async fn acquire(&self, key: &str, rate: Rate, n: u32) -> Decision;
}

/// The answer of a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    /// Nothing was taken. Before `retry_after` the same request is denied again; at it, others may have been faster.
    Denied {
        retry_after: Duration,
    },
}

impl Decision {
    /// For a request over the burst: waiting does not help.
    pub const NEVER: Self = Self::Denied { retry_after: Duration::MAX };
}

/// So many per time, evenly, and at most `burst` of them at once after a rest.
///
/// In any window of time `t` at most `burst + t / interval` pass. A burst of 1 spaces them evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval_micros: u64,
    burst: u32,
}

/// Not a rate that can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRate {
    #[error("a rate and its burst are at least 1")]
    Zero,
    /// Times are counted in microseconds; at more than this their rounding would show.
    #[error("at most 10000 per second can be limited")]
    TooFast,
    #[error("a budget must be full again within a year: lower the burst or raise the rate")]
    TooSlow,
}

const MIN_INTERVAL_MICROS: u128 = 100;
const YEAR_MICROS: u64 = 365 * 24 * 3_600 * 1_000_000;

impl Rate {
    /// `count` in every `per`. The interval between two is rounded up to the microsecond: never faster than asked.
    pub fn new(count: u32, per: Duration, burst: u32) -> Result<Self, InvalidRate> {
        if count == 0 || burst == 0 {
            return Err(InvalidRate::Zero);
        }
        if per.as_micros() < MIN_INTERVAL_MICROS * u128::from(count) {
            return Err(InvalidRate::TooFast);
        }
        let interval = per.as_micros().div_ceil(u128::from(count));
        let interval_micros = u64::try_from(interval).map_err(|_| InvalidRate::TooSlow)?;
        match interval_micros.checked_mul(u64::from(burst)) {
            Some(refill) if refill <= YEAR_MICROS => Ok(Self { interval_micros, burst }),
            Some(_) | None => Err(InvalidRate::TooSlow),
        }
    }

    /// The time that one of them takes from the budget.
    pub fn interval_micros(self) -> u64 {
        self.interval_micros
    }

    /// The most that pass at once.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// After this long without use the budget is full again.
    pub fn refill_micros(self) -> u64 {
        self.interval_micros * u64::from(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_faster_than_asked() {
        let rate = Rate::new(7, Duration::from_secs(1), 2).unwrap();
        assert_eq!((rate.interval_micros(), rate.refill_micros()), (142_858, 285_716));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let second = Duration::from_secs(1);
        let cases = [
            (0, second, 1, InvalidRate::Zero),
            (1, second, 0, InvalidRate::Zero),
            (10_001, second, 1, InvalidRate::TooFast),
            (1, Duration::ZERO, 1, InvalidRate::TooFast),
            (1, second, u32::MAX, InvalidRate::TooSlow),
            (1, Duration::MAX, 1, InvalidRate::TooSlow),
        ];
        for (count, per, burst, error) in cases {
            assert_eq!(Rate::new(count, per, burst), Err(error), "{count} per {per:?}, burst {burst}");
        }
        assert!(Rate::new(10_000, second, 1).is_ok());
    }
}
