//! Ends of jobs that are not known to be ours: the event can be here before the answer that says so.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::collect::End;

/// Ends of other clients' jobs that may come between the end of one of ours and its answer.
const OF_OTHERS: usize = 65_536;

/// The latest such ends. Most are of other clients' jobs and are never asked for, so the oldest are dropped.
pub(super) struct Early {
    ends: HashMap<u128, (End, Instant)>,
    /// In the order in which they came, also those that were taken since.
    order: VecDeque<u128>,
    most: usize,
}

impl Early {
    /// Room for the jobs of all requests that wait for an answer, and for others.
    pub(super) fn new(n_in_flight: usize) -> Self {
        Self { ends: HashMap::new(), order: VecDeque::new(), most: n_in_flight.saturating_add(OF_OTHERS) }
    }

    pub(super) fn put(&mut self, job: u128, end: End, at: Instant) {
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.ends.remove(&oldest);
        }
        self.order.push_back(job);
        self.ends.insert(job, (end, at));
    }

    pub(super) fn take(&mut self, job: u128) -> Option<(End, Instant)> {
        self.ends.remove(&job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_strangers_take_no_more_room_than_there_is() {
        let at = Instant::now();
        let mut early = Early::new(10);
        let n_jobs = 3 * early.most as u128;
        (0..n_jobs).for_each(|job| early.put(job, End::Completed, at));
        assert_eq!((early.ends.len(), early.order.len()), (early.most, early.most));
        assert_eq!(early.take(0), None);
        assert_eq!(early.take(n_jobs - early.most as u128), Some((End::Completed, at)));
        assert_eq!(early.take(n_jobs - 1), Some((End::Completed, at)));
        assert_eq!(early.take(n_jobs - 1), None);
    }
}
