//! Whether calls to one peer make sense now: its breaker, and its wish to be left alone.

use std::time::Duration;

use quillwork_app::ports::provider::ProviderError;
use quillwork_domain::job::ErrorClass;
use tokio::time::Instant;

use super::breaker::{Breaker, Entry, Outcome, Policy};
use super::{Limits, shown};

/// A peer that asks to be left alone for longer is asked again after this time.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(24 * 3_600);

/// A call that fell to its job's deadline counts as a failure if it had at least this long.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// Of a message that is kept for later refusals.
const MAX_REASON_CHARS: usize = 300;

#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) breaker: Breaker,
    pause: Option<Pause>,
    /// The next turn by the rate limit, as far as it was heard of.
    pub(super) next_turn: Option<Instant>,
}

/// The peer asked for patience, or its allowance is used up.
#[derive(Clone, Debug)]
struct Pause {
    until: Instant,
    class: ErrorClass,
    reason: String,
}

/// Why a call is refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) until: Instant,
    pub(super) class: ErrorClass,
    pub(super) reason: String,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { breaker: Breaker::Closed { failures: 0 }, pause: None, next_turn: None }
    }

    /// Why a call would be refused now, if it would.
    pub(super) fn look(&self, now: Instant) -> Option<Refusal> {
        if let Some(pause) = self.pause.as_ref().filter(|pause| now < pause.until) {
            return Some(Refusal { until: pause.until, class: pause.class, reason: pause.reason.clone() });
        }
        self.breaker.closed_until(now).map(out_of_order)
    }

    pub(super) fn enter(&mut self, limits: &Limits, now: Instant) -> Result<Entry, Refusal> {
        if let Some(refusal) = self.look(now) {
            return Err(refusal);
        }
        self.pause = None;
        let (breaker, entry) = self.breaker.enter(policy(limits), now).map_err(out_of_order)?;
        self.breaker = breaker;
        Ok(entry)
    }

    /// Learns from a call that took `elapsed`; `error` is None if it went well.
    pub(super) fn leave(
        &mut self,
        entry: Entry,
        error: Option<&ProviderError>,
        elapsed: Duration,
        limits: &Limits,
        now: Instant,
    ) {
        let outcome = error.map_or(Outcome::Answered, |error| outcome(error.class, elapsed));
        self.breaker = self.breaker.on(entry, outcome, policy(limits), now);
        if let Some(pause) = error.and_then(|error| pause(error, limits, now))
            && self.pause.as_ref().is_none_or(|known| known.until < pause.until)
        {
            self.pause = Some(pause);
        }
    }

    pub(super) fn give_up(&mut self, entry: Entry, limits: &Limits, now: Instant) {
        self.breaker = self.breaker.on(entry, Outcome::Unknown, policy(limits), now);
    }

    /// What is left of the peer's wish.
    pub(super) fn paused_for(&self, now: Instant) -> Duration {
        self.pause.as_ref().map_or(Duration::ZERO, |pause| pause.until.saturating_duration_since(now))
    }
}

fn policy(limits: &Limits) -> Policy {
    Policy { failures: limits.failures.max(1), open_for: limits.open_for }
}

fn out_of_order(until: Instant) -> Refusal {
    Refusal {
        until,
        class: ErrorClass::RateLimited,
        reason: "its last calls failed one after the other".into(),
    }
}

/// Only what the peer has failed at counts; one that refuses is there.
fn outcome(class: ErrorClass, elapsed: Duration) -> Outcome {
    match class {
        ErrorClass::Transient => Outcome::Failed,
        ErrorClass::Timeout if elapsed >= HANGS_AFTER => Outcome::Failed,
        ErrorClass::Timeout
        | ErrorClass::Panic
        | ErrorClass::Lost
        | ErrorClass::Released
        | ErrorClass::UnknownHandler
        | ErrorClass::Undecodable
        | ErrorClass::BudgetExhausted => Outcome::Unknown,
        ErrorClass::RateLimited
        | ErrorClass::Quota
        | ErrorClass::Permanent
        | ErrorClass::TooLarge
        | ErrorClass::BadOutput
        | ErrorClass::NoSourcesFound => Outcome::Answered,
    }
}

fn pause(error: &ProviderError, limits: &Limits, now: Instant) -> Option<Pause> {
    let (class, time) = if error.class == ErrorClass::Quota {
        // Some name the seconds of another limit with it.
        (ErrorClass::Quota, error.retry_after.unwrap_or_default().max(limits.quota_pause))
    } else if error.class == ErrorClass::RateLimited {
        (ErrorClass::RateLimited, error.retry_after.unwrap_or(limits.default_pause))
    } else if error.class == ErrorClass::Transient {
        (ErrorClass::RateLimited, error.retry_after?)
    } else {
        return None;
    };
    let reason = error.message.chars().take(MAX_REASON_CHARS).collect();
    Some(Pause { until: now + time.min(MAX_PAUSE), class, reason })
}

impl Refusal {
    pub(super) fn into_error(self, peer: &str, now: Instant) -> ProviderError {
        let left = self.until.saturating_duration_since(now);
        ProviderError {
            class: self.class,
            message: format!("{peer} is not asked for {}: {}", shown(left), self.reason),
            retry_after: Some(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(class: ErrorClass, retry_after: Option<u64>) -> ProviderError {
        ProviderError {
            class,
            message: "it said so".into(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn what_a_call_teaches() {
        use ErrorClass::*;
        let limits = Limits { failures: 1, ..Limits::new(1) };
        // Class, retry-after and time taken in seconds; then for how long the next call is refused, and its class.
        let cases = [
            (Transient, None, 0, Some((30, RateLimited))),
            (Transient, Some(90), 0, Some((90, RateLimited))),
            (Timeout, None, 10, Some((30, RateLimited))),
            (Timeout, None, 9, None),
            (RateLimited, Some(12), 0, Some((12, RateLimited))),
            (RateLimited, None, 0, Some((30, RateLimited))),
            (RateLimited, Some(u64::MAX), 0, Some((86_400, RateLimited))),
            (Quota, None, 0, Some((600, Quota))),
            (Quota, Some(5), 0, Some((600, Quota))),
            (Quota, Some(700), 0, Some((700, Quota))),
            (Permanent, None, 0, None),
            (TooLarge, None, 0, None),
            (BadOutput, None, 0, None),
            (Released, None, 60, None),
        ];
        let now = Instant::now();
        for (class, retry_after, elapsed, expected) in cases {
            let mut gate = Gate::new();
            let error = error(class, retry_after);
            gate.leave(Entry::Ordinary, Some(&error), Duration::from_secs(elapsed), &limits, now);
            let refused = gate.look(now).map(|refusal| ((refusal.until - now).as_secs(), refusal.class));
            assert_eq!(refused, expected, "{class} {retry_after:?}");
            let pass = now + Duration::from_secs(86_400);
            assert!(gate.enter(&limits, pass).is_ok(), "{class}: not for ever");
        }
    }

    #[test]
    fn a_shorter_wish_does_not_replace_a_longer_one() {
        let (limits, now) = (Limits::new(1), Instant::now());
        let mut gate = Gate::new();
        for seconds in [5, 60, 20] {
            let error = error(ErrorClass::RateLimited, Some(seconds));
            gate.leave(Entry::Ordinary, Some(&error), Duration::ZERO, &limits, now);
        }
        gate.leave(Entry::Ordinary, None, Duration::ZERO, &limits, now);
        assert_eq!(gate.paused_for(now), Duration::from_secs(60));
        let refused = gate.look(now).unwrap().into_error("groq", now);
        assert_eq!(refused.message, "groq is not asked for 60 s: it said so");
    }
}
