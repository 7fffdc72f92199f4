//! A circuit breaker that counts failures in a row.
//!
//! A plain value: time and outcomes come in as data.

use std::time::Duration;

use tokio::time::Instant;

/// Whether calls make sense at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    Closed {
        /// In a row.
        failures: u32,
    },
    /// Calls are refused until then.
    Open { until: Instant },
    /// One call is trying. Should it never tell, another may try then.
    HalfOpen { until: Instant },
}

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) failures: u32,
    pub(super) open_for: Duration,
}

/// How a call was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Ordinary,
    /// Its outcome decides for all.
    Probe,
}

/// What a call says about its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered, be it with a refusal.
    Answered,
    Failed,
    /// The call was given up.
    Unknown,
}

impl Breaker {
    /// Until when calls are refused, if they are.
    pub(super) fn closed_until(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { until } | Self::HalfOpen { until } => (now < until).then_some(until),
        }
    }

    /// Lets a call in, or says when the next one may try.
    pub(super) fn enter(self, policy: Policy, now: Instant) -> Result<(Self, Entry), Instant> {
        match (self, self.closed_until(now)) {
            (_, Some(until)) => Err(until),
            (Self::Closed { .. }, None) => Ok((self, Entry::Ordinary)),
            (Self::Open { .. } | Self::HalfOpen { .. }, None) => {
                Ok((Self::HalfOpen { until: now + policy.open_for }, Entry::Probe))
            }
        }
    }

    /// What a call has taught. Calls from before it opened teach nothing any more.
    pub(super) fn on(self, entry: Entry, outcome: Outcome, policy: Policy, now: Instant) -> Self {
        let open = Self::Open { until: now + policy.open_for };
        match (self, entry, outcome) {
            (Self::Closed { .. }, _, Outcome::Answered) => Self::Closed { failures: 0 },
            (Self::Closed { failures }, _, Outcome::Failed) if failures + 1 < policy.failures => {
                Self::Closed { failures: failures + 1 }
            }
            (Self::Closed { .. }, _, Outcome::Failed) => open,
            (Self::HalfOpen { .. }, Entry::Probe, Outcome::Answered) => Self::Closed { failures: 0 },
            (Self::HalfOpen { .. }, Entry::Probe, Outcome::Failed) => open,
            (Self::HalfOpen { .. }, Entry::Probe, Outcome::Unknown) => Self::Open { until: now },
            (Self::Closed { .. }, _, Outcome::Unknown)
            | (Self::Open { .. }, _, _)
            | (Self::HalfOpen { .. }, Entry::Ordinary, _) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy { failures: 3, open_for: Duration::from_secs(30) };

    /// One step of a story: seconds since its start, and what happens then.
    enum Step {
        /// A call comes and is let in like this, or refused for so many seconds.
        Comes(u64, Result<Entry, u64>),
        /// A call ends.
        Ends(u64, Entry, Outcome),
    }

    #[test]
    fn stories() {
        use Entry::{Ordinary, Probe};
        use Outcome::{Answered, Failed, Unknown};
        use Step::{Comes, Ends};
        let fails = |at| Ends(at, Ordinary, Failed);
        let stories: [(&str, Vec<Step>); 8] = [
            (
                "it opens after failures in a row",
                vec![
                    fails(0),
                    fails(1),
                    Comes(1, Ok(Ordinary)),
                    fails(2),
                    Comes(2, Err(30)),
                    Comes(31, Err(1)),
                ],
            ),
            (
                "an answer in between starts anew",
                vec![
                    fails(0),
                    fails(1),
                    Ends(2, Ordinary, Answered),
                    fails(3),
                    fails(4),
                    Comes(4, Ok(Ordinary)),
                ],
            ),
            (
                "a call that was given up says nothing",
                vec![fails(0), fails(1), Ends(2, Ordinary, Unknown), fails(3), Comes(3, Err(30))],
            ),
            (
                "one probe goes through, and closes it",
                vec![
                    fails(0),
                    fails(0),
                    fails(0),
                    Comes(30, Ok(Probe)),
                    Comes(31, Err(29)),
                    Ends(32, Probe, Answered),
                    Comes(32, Ok(Ordinary)),
                    fails(33),
                    Comes(33, Ok(Ordinary)),
                ],
            ),
            (
                "a probe that fails opens it again",
                vec![
                    fails(0),
                    fails(0),
                    fails(0),
                    Comes(40, Ok(Probe)),
                    Ends(45, Probe, Failed),
                    Comes(45, Err(30)),
                ],
            ),
            (
                "a probe that is given up leaves its place to the next call",
                vec![
                    fails(0),
                    fails(0),
                    fails(0),
                    Comes(30, Ok(Probe)),
                    Ends(31, Probe, Unknown),
                    Comes(31, Ok(Probe)),
                ],
            ),
            (
                "a probe that never tells is followed by another",
                vec![
                    fails(0),
                    fails(0),
                    fails(0),
                    Comes(30, Ok(Probe)),
                    Comes(59, Err(1)),
                    Comes(60, Ok(Probe)),
                ],
            ),
            (
                "calls from before do not disturb",
                vec![
                    fails(0),
                    fails(0),
                    fails(0),
                    Ends(1, Ordinary, Answered),
                    Comes(1, Err(29)),
                    fails(20),
                    Comes(30, Ok(Probe)),
                    fails(31),
                    Ends(31, Ordinary, Answered),
                    Comes(31, Err(29)),
                ],
            ),
        ];
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (story, steps) in stories {
            let mut breaker = Breaker::Closed { failures: 0 };
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Comes(seconds, expected) => {
                        let entry = breaker.enter(POLICY, at(seconds));
                        let shown =
                            entry.map(|(_, entry)| entry).map_err(|until| (until - at(seconds)).as_secs());
                        assert_eq!(shown, expected, "{story}, step {n}");
                        breaker = entry.map_or(breaker, |(next, _)| next);
                    }
                    Ends(seconds, entry, outcome) => {
                        breaker = breaker.on(entry, outcome, POLICY, at(seconds))
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_never_stays_closed_for_good(steps in prop::collection::vec((0..20_u64, 0..5_u8), 0..60)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::Closed { failures: 0 };
            for (seconds, what) in steps {
                now += Duration::from_secs(seconds);
                breaker = match what {
                    0 => breaker.enter(POLICY, now).map_or(breaker, |(next, _)| next),
                    1 => breaker.on(Entry::Ordinary, Outcome::Failed, POLICY, now),
                    2 => breaker.on(Entry::Probe, Outcome::Failed, POLICY, now),
                    3 => breaker.on(Entry::Ordinary, Outcome::Answered, POLICY, now),
                    _ => breaker.on(Entry::Probe, Outcome::Unknown, POLICY, now),
                };
                prop_assert!(breaker.enter(POLICY, now + POLICY.open_for).is_ok(), "{:?}", breaker);
            }
        }
    }
}
