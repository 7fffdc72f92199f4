//! The generic cell rate algorithm: one number per key is the whole memory of a rate limiter.
//!
//! The number is the theoretical arrival time: the moment at which the key's budget is full again. Taking from the
//! budget pushes it into the future, and time catches up with it.

use std::time::Duration;

use crate::ports::rate_limiter::{Decision, Rate};

/// Decides whether `n` may pass `now`, and returns the key's new theoretical arrival time.
///
/// Times are microseconds of any one clock; 0 stands for a key that was never seen. A denial takes nothing from the
/// budget. Its `retry_after` is exact: without other callers, the same request is denied until then and allowed at it.
/// More than the burst can never pass and is denied with [`Duration::MAX`].
pub fn gcra(tat: u64, now: u64, rate: Rate, n: u32) -> (Decision, u64) {
    if n > rate.burst() {
        return (Decision::NEVER, tat);
    }
    let refill = rate.refill_micros();
    // Further ahead than a whole refill is only what a clock has left behind that was set back, or another rate.
    let tat = tat.clamp(now, now.saturating_add(refill));
    let next = tat.saturating_add(rate.interval_micros() * u64::from(n));
    let allowed_at = next.saturating_sub(refill);
    if allowed_at <= now {
        (Decision::Allowed, next)
    } else {
        (Decision::Denied { retry_after: Duration::from_micros(allowed_at - now) }, tat)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates() -> impl Strategy<Value = Rate> {
        (1..=1_000_u32, 1..=600_u64, 1..=50_u32).prop_map(|(count, seconds, burst)| {
            Rate::new(count, Duration::from_secs(seconds), burst).unwrap()
        })
    }

    /// Requests as the time since the one before, in tenths of the rate's interval, and how many at once.
    fn requests() -> impl Strategy<Value = Vec<(u64, u32)>> {
        prop::collection::vec((0..=40_u64, 0..=8_u32), 1..200)
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_burst_and_what_time_adds(rate in rates(), requests in requests()) {
            let (mut tat, mut now) = (0, 1_000_000);
            let mut passed: Vec<(u64, u64)> = Vec::new();
            for (tenths, n) in requests {
                now += rate.interval_micros() * tenths / 10;
                let (decision, next) = gcra(tat, now, rate, n);
                tat = next;
                if decision == Decision::Allowed {
                    passed.push((now, u64::from(n)));
                }
            }
            for (start, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (to, n) in &passed[start..] {
                    sum += n;
                    let most = u64::from(rate.burst()) + (to - from) / rate.interval_micros();
                    prop_assert!(sum <= most, "{sum} passed where {most} may");
                }
            }
        }

        #[test]
        fn a_denial_is_exact_and_takes_nothing(rate in rates(), requests in requests()) {
            let (mut tat, mut now) = (0, 1_000_000);
            for (tenths, n) in requests {
                now += rate.interval_micros() * tenths / 10;
                let (decision, next) = gcra(tat, now, rate, n);
                if let Decision::Denied { retry_after } = decision && n <= rate.burst() {
                    prop_assert_eq!(next, tat, "nothing was taken");
                    let at = now + u64::try_from(retry_after.as_micros()).unwrap();
                    prop_assert_ne!(gcra(tat, at - 1, rate, n).0, Decision::Allowed);
                    prop_assert_eq!(gcra(tat, at, rate, n).0, Decision::Allowed);
                }
                tat = next;
            }
        }

        #[test]
        fn who_waits_as_told_gets_the_whole_rate(rate in rates()) {
            let (mut tat, mut now) = (0, 1_000_000);
            let mut waited = 0;
            for _ in 0..rate.burst() + 20 {
                if let (Decision::Denied { retry_after }, _) = gcra(tat, now, rate, 1) {
                    waited += 1;
                    now += u64::try_from(retry_after.as_micros()).unwrap();
                }
                let (decision, next) = gcra(tat, now, rate, 1);
                prop_assert_eq!(decision, Decision::Allowed);
                tat = next;
            }
            prop_assert_eq!(waited, 20);
            prop_assert_eq!(now, 1_000_000 + 20 * rate.interval_micros());
        }

        #[test]
        fn a_clock_that_is_set_back_costs_one_refill_at_most(rate in rates(), back in 1..u64::MAX / 4, n in 1..50_u32) {
            let n = n.min(rate.burst());
            let later = u64::MAX / 2;
            let (_, tat) = gcra(0, later, rate, n);
            if let (Decision::Denied { retry_after }, _) = gcra(tat, later - back, rate, n) {
                prop_assert!(retry_after <= Duration::from_micros(rate.refill_micros()));
            }
        }
    }

    #[test]
    fn more_than_the_burst_never_passes() {
        let rate = Rate::new(60, Duration::from_secs(60), 10).unwrap();
        assert_eq!(gcra(0, 5, rate, 10).0, Decision::Allowed);
        assert_eq!(gcra(0, 5, rate, 11), (Decision::Denied { retry_after: Duration::MAX }, 0));
    }

    #[test]
    fn nothing_always_passes_and_costs_nothing() {
        let rate = Rate::new(1, Duration::from_secs(3_600), 1).unwrap();
        let (_, tat) = gcra(0, 5, rate, 1);
        assert_eq!(gcra(tat, 5, rate, 0), (Decision::Allowed, tat));
    }
}
