//! Leaves hosts in peace between requests.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::fetch::setback::Setback;

/// So many hosts are remembered. Far more than can be asked within the longest delay.
const HOSTS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// Gives out turns, host by host, in the order of asking.
pub(super) struct Hosts {
    hosts: Mutex<LruCache<String, Arc<Host>>>,
    per_host: usize,
}

struct Host {
    slots: Arc<Semaphore>,
    /// When the next request may start.
    next: Mutex<Instant>,
}

/// The right to use a host, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _slot: OwnedSemaphorePermit,
}

impl Hosts {
    pub(super) fn new(per_host: usize) -> Self {
        Self { hosts: Mutex::new(LruCache::new(HOSTS)), per_host: per_host.max(1) }
    }

    /// Waits until the host may be asked; the next request waits for `delay` after that.
    ///
    /// # Errors
    /// At once, if the turn would come after `latest`: says how long to stay away.
    pub(super) async fn turn(&self, name: &str, delay: Duration, latest: Instant) -> Result<Turn, Setback> {
        let host = self.host(name);
        let Ok(slot) = Arc::clone(&host.slots).acquire_owned().await else {
            return Err(Setback::passing(format!("{name} cannot be asked: its turns have ended")));
        };
        let start = {
            let now = Instant::now();
            let mut next = host.next.lock().unwrap_or_else(PoisonError::into_inner);
            let start = now.max(*next);
            if start > latest {
                let wait = start - now;
                return Err(Setback::rate_limited(
                    format!(
                        "{name} wants to be left in peace for {} s more, longer than the stage has",
                        wait.as_secs() + 1
                    ),
                    Some(wait),
                ));
            }
            *next = start + delay;
            start
        };
        sleep_until(start).await;
        Ok(Turn { _slot: slot })
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Host {
                slots: Arc::new(Semaphore::new(self.per_host)),
                next: Mutex::new(Instant::now()),
            })
        };
        Arc::clone(hosts.get_or_insert(name.to_owned(), new))
    }
}

#[cfg(test)]
mod tests {
    use quillwork_domain::job::ErrorClass;

    use super::*;

    const FAR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn requests_to_one_host_start_apart() {
        let hosts = Hosts::new(8);
        let begun = Instant::now();
        let mut starts = Vec::new();
        for (host, delay) in [("a", 500), ("a", 2_000), ("b", 500), ("a", 0), ("a", 0)] {
            hosts.turn(host, Duration::from_millis(delay), begun + FAR).await.unwrap();
            starts.push(begun.elapsed().as_millis());
        }
        assert_eq!(starts, [0, 500, 500, 2_500, 2_500]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_asked_so_many_times_at_once() {
        let hosts = Hosts::new(2);
        let latest = Instant::now() + FAR;
        let first = hosts.turn("a", Duration::ZERO, latest).await.unwrap();
        let _second = hosts.turn("a", Duration::ZERO, latest).await.unwrap();
        let mut third = Box::pin(hosts.turn("a", Duration::ZERO, latest));
        assert!(futures::poll!(&mut third).is_pending());
        assert!(hosts.turn("b", Duration::ZERO, latest).await.is_ok());
        drop(first);
        assert!(third.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_too_late_is_not_waited_for() {
        let hosts = Hosts::new(2);
        let now = Instant::now();
        let delay = Duration::from_secs(10);
        drop(hosts.turn("a", delay, now).await.unwrap());
        let Err(Setback::Fail(error)) = hosts.turn("a", delay, now + Duration::from_secs(9)).await else {
            panic!("it waited");
        };
        assert_eq!((error.class, error.retry_after), (ErrorClass::RateLimited, Some(delay)));
        // It took nobody's turn.
        hosts.turn("a", delay, now + delay).await.unwrap();
        assert_eq!(now.elapsed(), delay);
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_are_forgotten_when_there_are_too_many() {
        let hosts = Hosts::new(1);
        let now = Instant::now();
        for n in 0..=HOSTS.get() {
            hosts.turn(&n.to_string(), FAR, now).await.unwrap();
        }
        assert_eq!(hosts.hosts.lock().unwrap().len(), HOSTS.get());
        assert!(hosts.turn("0", FAR, now).await.is_ok(), "the oldest is new again");
    }
}
