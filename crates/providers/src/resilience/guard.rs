//! One provider's guard: who may call it now, and what its answers teach.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::ProviderError;
use quillwork_app::ports::rate_limiter::{Decision, RateLimiter};
use quillwork_domain::job::ErrorClass;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::breaker::{Breaker, Entry};
use super::gate::{Gate, MAX_PAUSE, Refusal};
use super::metrics::{Counted, ProviderMetrics};
use super::{Limits, shortly, shown};

/// Up to here a call waits for a peer that asked for patience.
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// Up to here, in all, it waits for its turn by the rate limit.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// With more hosts in use, the one that was idle longest is met as a stranger again.
const MAX_HOSTS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// Stands before one provider.
pub struct Guard {
    name: String,
    rate_key: String,
    limits: Limits,
    limiter: Arc<dyn RateLimiter>,
    provider: Lane,
    hosts: Mutex<LruCache<String, Arc<Lane>>>,
    metrics: ProviderMetrics,
}

/// The way to the provider, or to one of its hosts.
struct Lane {
    slots: Semaphore,
    gate: Mutex<Gate>,
}

/// What a call could expect at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Ready {
        /// Without waiting for a slot.
        has_slot: bool,
    },
    /// Refused for so long, and why.
    Away { left: Duration, class: ErrorClass, reason: String },
}

impl Guard {
    /// `name` is the provider's in the configuration.
    pub fn new(
        name: impl Into<String>,
        limits: Limits,
        limiter: Arc<dyn RateLimiter>,
        metrics: ProviderMetrics,
    ) -> Self {
        let name = name.into();
        let rate_key = limits.rate_key.clone().unwrap_or_else(|| format!("provider:{name}"));
        let provider = Lane::new(limits.concurrency);
        metrics.gate(&name, &provider.gate(), Instant::now());
        let hosts = Mutex::new(LruCache::new(MAX_HOSTS));
        Self { name, rate_key, limits, limiter, provider, hosts, metrics }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls the provider by `work`, as soon as it may, with a few short retries.
    ///
    /// Fails with class `RateLimited` or `Quota` and a `retry_after`, without a call, where a call makes no sense now.
    pub async fn call<T, F>(&self, call: &Call, mut work: impl FnMut() -> F) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let pass = self.admit(None, call).await?;
        let done = shortly(call, || call.limit(&self.name, work())).await;
        pass.settle(done)
    }

    /// The same, once: for work whose failures may have cost money.
    pub async fn once<T>(
        &self,
        call: &Call,
        work: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let pass = self.admit(None, call).await?;
        pass.settle(call.limit(&self.name, work).await)
    }

    /// Like [`Guard::call`] where failures are those of one host, not of the provider: each host has a breaker and a
    /// `not_before` of its own, and takes only some of the slots.
    pub async fn call_host<T, F>(
        &self,
        host: &str,
        call: &Call,
        mut work: impl FnMut() -> F,
    ) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let lane = self.host(host);
        let pass = self.admit(Some((host, &lane)), call).await?;
        let done = shortly(call, || call.limit(host, work())).await;
        pass.settle(done)
    }

    pub fn standing(&self) -> Standing {
        let now = Instant::now();
        let gate = self.provider.gate();
        let turn = gate.next_turn.filter(|turn| *turn > now + TURN_WAIT);
        match (gate.look(now), turn) {
            (Some(refusal), _) => {
                Standing::Away { left: refusal.until - now, class: refusal.class, reason: refusal.reason }
            }
            (None, Some(turn)) => {
                let reason = "its rate limit is used up".to_owned();
                Standing::Away { left: turn - now, class: ErrorClass::RateLimited, reason }
            }
            (None, None) => Standing::Ready { has_slot: self.provider.slots.available_permits() > 0 },
        }
    }

    /// Whether calls are refused, or nearly, because earlier ones failed.
    pub fn is_tripped(&self) -> bool {
        !matches!(self.provider.gate().breaker, Breaker::Closed { .. })
    }

    fn host(&self, host: &str) -> Arc<Lane> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let n = self.limits.concurrency_per_host;
        hosts.get_or_insert_ref(host, || Arc::new(Lane::new(n))).clone()
    }

    async fn admit<'a>(
        &'a self,
        host: Option<(&'a str, &'a Lane)>,
        call: &Call,
    ) -> Result<Pass<'a>, ProviderError> {
        let (peer, lane) = host.unwrap_or((&self.name, &self.provider));
        let _waiting = self.metrics.waiting(&self.name);
        let admitted = call.limit(&format!("waiting for {peer}"), self.pass_gates(peer, lane, call)).await;
        let (slots, entry) = admitted.inspect_err(|_| self.metrics.ended(&self.name, "refused"))?;
        Ok(Pass {
            guard: self,
            lane,
            is_host: host.is_some(),
            entry,
            start: Instant::now(),
            is_settled: false,
            _in_flight: self.metrics.in_flight(&self.name),
            _slots: slots,
        })
    }

    async fn pass_gates<'a>(
        &'a self,
        peer: &str,
        lane: &'a Lane,
        call: &Call,
    ) -> Result<([Option<SemaphorePermit<'a>>; 2], Entry), ProviderError> {
        let now = Instant::now();
        // Whoever is refused later need not stand in line for it.
        if let Some(refusal) = lane.gate().look(now).filter(|refusal| refusal.until > now + SHORT_WAIT) {
            return Err(refusal.into_error(peer, now));
        }
        // First the host's, so that a slow host takes no more of the provider's than its share.
        let of_host = if std::ptr::eq(lane, &self.provider) { None } else { lane.slots.acquire().await.ok() };
        let of_provider = self.provider.slots.acquire().await.ok();
        self.turn(call).await?;
        let entry = self.enter(peer, lane, call).await?;
        Ok(([of_host, of_provider], entry))
    }

    /// Waits for a turn that is near.
    async fn turn(&self, call: &Call) -> Result<(), ProviderError> {
        let Some(rate) = self.limits.rate else { return Ok(()) };
        let patience = (Instant::now() + TURN_WAIT).min(Instant::from_std(call.deadline));
        loop {
            let decision = self.limiter.acquire(&self.rate_key, rate, 1).await;
            let now = Instant::now();
            match decision {
                Decision::Allowed => {
                    self.provider.gate().next_turn = None;
                    return Ok(());
                }
                Decision::Denied { retry_after }
                    if retry_after <= patience.saturating_duration_since(now) =>
                {
                    tokio::time::sleep(retry_after).await;
                }
                Decision::Denied { retry_after } => {
                    self.provider.gate().next_turn = now.checked_add(retry_after);
                    return Err(ProviderError {
                        class: ErrorClass::RateLimited,
                        message: format!(
                            "the rate limit that is configured for {} is used up; its next turn is in {}",
                            self.name,
                            shown(retry_after)
                        ),
                        retry_after: Some(retry_after),
                    });
                }
            }
        }
    }

    /// Asks again what has changed while the call stood in line; a short wish of the peer is waited for.
    async fn enter(&self, peer: &str, lane: &Lane, call: &Call) -> Result<Entry, ProviderError> {
        let patience = (Instant::now() + SHORT_WAIT).min(Instant::from_std(call.deadline));
        loop {
            let now = Instant::now();
            let entered = lane.gate().enter(&self.limits, now);
            match entered {
                Ok(entry) => {
                    self.show(lane);
                    return Ok(entry);
                }
                Err(Refusal { until, .. }) if until <= patience => tokio::time::sleep_until(until).await,
                Err(refusal) => return Err(refusal.into_error(peer, now)),
            }
        }
    }

    /// Hosts are too many for metrics.
    fn show(&self, lane: &Lane) {
        if std::ptr::eq(lane, &self.provider) {
            self.metrics.gate(&self.name, &lane.gate(), Instant::now());
        }
    }
}

impl Lane {
    fn new(concurrency: usize) -> Self {
        let slots = Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS));
        Self { slots, gate: Mutex::new(Gate::new()) }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is being made. Dropping it gives it up.
struct Pass<'a> {
    guard: &'a Guard,
    lane: &'a Lane,
    is_host: bool,
    entry: Entry,
    start: Instant,
    is_settled: bool,
    _in_flight: Counted,
    _slots: [Option<SemaphorePermit<'a>>; 2],
}

impl Pass<'_> {
    fn settle<T>(mut self, done: Result<T, ProviderError>) -> Result<T, ProviderError> {
        self.is_settled = true;
        let done = done.map_err(|error| {
            let retry_after = error.retry_after.map(|wait| wait.min(MAX_PAUSE));
            ProviderError { retry_after, ..error }
        });
        let (guard, elapsed) = (self.guard, self.start.elapsed());
        let error = done.as_ref().err();
        let was_tripped = {
            let mut gate = self.lane.gate();
            let was_tripped = !matches!(gate.breaker, Breaker::Closed { .. });
            gate.leave(self.entry, error, elapsed, &guard.limits, Instant::now());
            was_tripped
        };
        guard.show(self.lane);
        if !self.is_host && was_tripped != guard.is_tripped() {
            self.announce(error);
        }
        let outcome = error.map_or("ok", |error| error.class.as_str());
        guard.metrics.called(&guard.name, outcome, elapsed);
        done
    }

    fn announce(&self, error: Option<&ProviderError>) {
        let provider = &self.guard.name;
        match error {
            Some(error) if self.guard.is_tripped() => tracing::warn!(
                provider,
                error = %error,
                "a provider fails again and again; it is left alone for {}",
                shown(self.guard.limits.open_for)
            ),
            Some(_) | None => tracing::info!(provider, "a provider answers again"),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.lane.gate().give_up(self.entry, &self.guard.limits, Instant::now());
            self.guard.show(self.lane);
            self.guard.metrics.ended(&self.guard.name, "dropped");
        }
    }
}
