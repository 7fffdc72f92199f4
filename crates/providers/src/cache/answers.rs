//! Answers from the cache, or from one call for all who want the same.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quillwork_app::ports::cache::{Cache, CacheKey, Hit};
use quillwork_app::ports::call::{CacheUse, Call};
use quillwork_app::ports::provider::ProviderError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedMutexGuard;

use crate::cache::fleet_lock::{FleetLock, Held, Taken};
use crate::cache::flights::{Flights, Seat};
use crate::cache::metrics::{CacheMetrics, Outcome};
use crate::redis_server::RedisServer;

/// Between two looks for the answer of another process.
const FLEET_POLL: Duration = Duration::from_millis(100);

/// How long one waits for another process; then it asks itself.
const FLEET_PATIENCE: Duration = Duration::from_secs(300);

/// For errors.
const WAITING: &str = "waiting for a request that asks the same";

/// How long answers are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttls {
    pub search: Duration,
    pub page: Duration,
    pub completion: Duration,
    /// For nothing found, and for pages that cannot be had.
    pub negative: Duration,
}

impl Default for Ttls {
    fn default() -> Self {
        Self {
            search: Duration::from_secs(6 * 3_600),
            page: Duration::from_secs(24 * 3_600),
            completion: Duration::from_secs(30 * 24 * 3_600),
            negative: Duration::from_secs(600),
        }
    }
}

/// The cache as those use it who ask the outside world. One for all of them in a process.
///
/// Errors are not kept. What the cache has and cannot be read is a miss.
pub struct Answers {
    cache: Arc<dyn Cache>,
    ttls: Ttls,
    metrics: CacheMetrics,
    flights: Arc<Flights>,
    fleet: Option<FleetLock>,
}

/// What is asked, for the metrics and the cache.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub(super) kind: &'static str,
    pub(super) key: CacheKey,
}

/// An answer, and whether it was there before.
pub(super) enum Answer<T> {
    /// The provider gave it to this very request.
    Fresh(T),
    Kept(T),
}

impl<T> Answer<T> {
    pub(super) fn into_inner(self) -> T {
        match self {
            Self::Fresh(answer) | Self::Kept(answer) => answer,
        }
    }
}

impl Answers {
    pub fn new(cache: Arc<dyn Cache>, ttls: Ttls, metrics: CacheMetrics) -> Self {
        Self { cache, ttls, metrics, flights: Arc::default(), fleet: None }
    }

    /// Also waits for other processes on the same Redis that ask the same, for a while.
    #[must_use]
    pub fn across_fleet(mut self, server: RedisServer) -> Self {
        self.fleet = Some(FleetLock::new(server));
        self
    }

    pub(super) fn ttls(&self) -> Ttls {
        self.ttls
    }

    /// The answer to `question`: from the cache, from another request that is asking it now, or from `ask`.
    ///
    /// `ttl` says how long an answer is good, or that it must not be kept. Waiting ends with the call's time, and
    /// when nobody wants it any more; `ask` does so by itself.
    pub(super) async fn get<T: Serialize + DeserializeOwned>(
        &self,
        question: Question,
        call: &Call,
        ttl: impl Fn(&T) -> Option<Duration>,
        ask: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Answer<T>, ProviderError> {
        let Question { kind, key } = question;
        match call.cache {
            CacheUse::Use => {}
            CacheUse::Bypass => {
                self.metrics.count(kind, Outcome::Bypass);
                let answer = ask.await?;
                if let Some((value, ttl)) = keepable(&answer, ttl) {
                    self.keep(key, value, ttl, None).await;
                }
                return Ok(Answer::Fresh(answer));
            }
        }
        if let Some(answer) = self.kept(question).await {
            return Ok(Answer::Kept(answer));
        }
        let seat = self.flights.board(key);
        let flight = call.limit(WAITING, async { Ok(seat.flight().lock_owned().await) }).await?;
        if let Some(answer) = flight.as_deref().and_then(parse) {
            self.metrics.count(kind, Outcome::Joined);
            return Ok(Answer::Kept(answer));
        }
        // A flight that ended between the look and the boarding left its answer there.
        if let Some(answer) = self.kept(question).await {
            return Ok(Answer::Kept(answer));
        }
        let lock = match &self.fleet {
            Some(fleet) => match call.limit(WAITING, self.wait_for_fleet(fleet, question)).await? {
                Turn::Answered(answer) => return Ok(Answer::Kept(answer)),
                Turn::Ours(lock) => lock,
            },
            None => None,
        };
        self.metrics.count(kind, Outcome::Miss);
        let answer = ask.await?;
        if let Some((value, ttl)) = keepable(&answer, ttl) {
            self.keep(key, value, ttl, Some(Holds { flight, seat, lock })).await;
        }
        Ok(Answer::Fresh(answer))
    }

    /// To its end, also when whoever asked has gone: the answer may have been paid for.
    async fn keep(&self, key: CacheKey, value: Bytes, ttl: Duration, holds: Option<Holds>) {
        let cache = self.cache.clone();
        let keeping = tokio::spawn(async move {
            let rest = holds.map(|Holds { mut flight, seat, lock }| {
                // Those who wait here need not wait for the cache.
                *flight = Some(value.clone());
                (seat, lock)
            });
            cache.put(&key, value, ttl).await;
            drop(rest);
        });
        // A panic there was reported there, and the answer is here.
        let _ = keeping.await;
    }

    async fn kept<T: DeserializeOwned>(&self, question: Question) -> Option<T> {
        let Hit { value, ttl: _, tier } = self.cache.look_up(&question.key).await?;
        let answer = parse(&value)?;
        self.metrics.count(question.kind, Outcome::Hit(tier));
        Some(answer)
    }

    /// Until another process has answered, or it is our turn to ask.
    async fn wait_for_fleet<T: DeserializeOwned>(
        &self,
        fleet: &FleetLock,
        question: Question,
    ) -> Result<Turn<T>, ProviderError> {
        let patience = tokio::time::Instant::now() + FLEET_PATIENCE;
        loop {
            match fleet.take(&question.key).await {
                Taken::Yes(held) => {
                    // Whoever had it before may have put the answer there.
                    return Ok(match self.kept(question).await {
                        Some(answer) => Turn::Answered(answer),
                        None => Turn::Ours(Some(held)),
                    });
                }
                Taken::Away => return Ok(Turn::Ours(None)),
                Taken::Busy if tokio::time::Instant::now() >= patience => return Ok(Turn::Ours(None)),
                Taken::Busy => tokio::time::sleep(FLEET_POLL).await,
            }
            if let Some(answer) = self.kept(question).await {
                return Ok(Turn::Answered(answer));
            }
        }
    }
}

/// What keeps others waiting for an answer.
struct Holds {
    flight: OwnedMutexGuard<Option<Bytes>>,
    seat: Seat,
    lock: Option<Held>,
}

enum Turn<T> {
    Answered(T),
    Ours(Option<Held>),
}

fn keepable<T: Serialize>(answer: &T, ttl: impl Fn(&T) -> Option<Duration>) -> Option<(Bytes, Duration)> {
    let ttl = ttl(answer)?;
    Some((serde_json::to_vec(answer).ok()?.into(), ttl))
}

fn parse<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

/// Text as questions are compared by: letters in lower case, runs of white space as one blank.
pub(super) fn normalised(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use quillwork_app::ports::cache::CacheKey;

    use super::*;
    use crate::cache::memory::MemoryCache;

    #[test]
    fn topics_are_compared_without_case_and_white_space() {
        assert_eq!(normalised("  HTTP\u{a0}Caching\n in  Ümlaut "), "http caching in ümlaut");
    }

    #[tokio::test]
    async fn nothing_is_left_of_flights_that_ended() {
        let answers =
            Answers::new(Arc::new(MemoryCache::new(1_000_000)), Ttls::default(), CacheMetrics::default());
        let call = Call::within(Duration::from_secs(60));
        for (n, result) in [Ok(7_u32), Err(ProviderError::transient("no")), Ok(8)].into_iter().enumerate() {
            let question = Question { kind: "test", key: CacheKey::new("test", &[&[n as u8]]) };
            let _ = answers.get(question, &call, |_| None, async { result }).await;
        }
        assert_eq!(answers.flights.len(), 0);
    }
}
