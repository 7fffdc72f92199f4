//! When requests are due, and from when their latency counts.
//!
//! A generator that waits for slow answers before it sends again leaves out of the figures what a client on a schedule
//! would have suffered (coordinated omission). So a request that could not be sent in time because all connections
//! waited for answers counts from the time it was due. One that was late only because our own timer woke up late
//! counts from when it was sent, and the lateness is told apart: it is the generator's, and not the server's.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Hands out the items of a load, to all clients together.
pub(super) struct Schedule {
    /// When the first client was ready.
    begin: OnceLock<Instant>,
    /// Items per second; None for as fast as answers come.
    rate: Option<f64>,
    total: u64,
    /// Items in a request.
    step: u64,
    next: AtomicU64,
}

/// Some items whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The first item.
    pub(super) first: u64,
    pub(super) n_items: u64,
    pub(super) start: Start,
}

/// When a request counts as started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) at: Instant,
    pub(super) punctuality: Punctuality,
}

/// How a request stands to its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Punctuality {
    /// There is no schedule.
    Unscheduled,
    /// A free connection waited for the time, and our timer was this late.
    Timer(Duration),
    /// No connection was free at the time: the server's doing, and part of the latency.
    Overdue,
}

impl Schedule {
    pub(super) fn new(total: u64, step: u64, rate: Option<f64>) -> Self {
        Self { begin: OnceLock::new(), rate, total, step, next: AtomicU64::new(0) }
    }

    /// Waits for the turn of a client that is free now; None when nothing is left.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let first = self.next.fetch_add(self.step, Ordering::Relaxed);
        if first >= self.total {
            return None;
        }
        let n_items = self.step.min(self.total - first);
        let free = Instant::now();
        let start = match self.due(first) {
            None => Start { at: free, punctuality: Punctuality::Unscheduled },
            Some(due) => {
                if free < due {
                    tokio::time::sleep_until(due).await;
                }
                start(due, free, Instant::now())
            }
        };
        Some(Turn { first, n_items, start })
    }

    fn due(&self, item: u64) -> Option<Instant> {
        #[expect(clippy::cast_precision_loss, reason = "a schedule good to the nanosecond for years")]
        let since_begin = self.rate.map(|rate| Duration::from_secs_f64(item as f64 / rate));
        since_begin.map(|since| *self.begin.get_or_init(Instant::now) + since)
    }
}

/// The start of a request that was `due`, whose client was `free` then or later and sends `now`.
fn start(due: Instant, free: Instant, now: Instant) -> Start {
    if free <= due {
        Start { at: now, punctuality: Punctuality::Timer(now.saturating_duration_since(due)) }
    } else {
        Start { at: due, punctuality: Punctuality::Overdue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_timer_is_not_the_servers_fault_and_a_busy_connection_is() {
        let due = Instant::now();
        let (before, after) = (due - Duration::from_millis(5), due + Duration::from_millis(7));
        let late = Punctuality::Timer(Duration::from_millis(7));
        assert_eq!(start(due, before, after), Start { at: after, punctuality: late });
        assert_eq!(start(due, after, after), Start { at: due, punctuality: Punctuality::Overdue });
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_their_time_and_to_their_number() {
        let begin = Instant::now();
        let schedule = Schedule::new(5, 2, Some(100.0));
        let mut turns = Vec::new();
        while let Some(Turn { first, n_items, start }) = schedule.turn().await {
            turns.push((first, n_items, start.at.duration_since(begin).as_millis()));
        }
        assert_eq!(turns, [(0, 2, 0), (2, 2, 20), (4, 1, 40)]);
    }
}
