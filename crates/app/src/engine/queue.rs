//! The heads of the queues, in memory: what a free slot takes next without asking the store.
//!
//! Per handler a bounded window on the waiting tasks that are due, in order. A window is complete when it holds all of
//! them; else the store has more behind its last one.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use quillwork_domain::time::Timestamp;

use crate::ports::store::{Task, TaskKey};

/// Higher priority first, then the earlier, then the older job.
type Rank = (Reverse<i16>, Timestamp, TaskKey);

fn rank(task: &Task) -> Rank {
    (Reverse(task.priority), task.run_at, task.key)
}

/// The window on one handler's tasks.
#[derive(Debug)]
struct Window {
    tasks: BTreeMap<Rank, Task>,
    capacity: usize,
    complete: bool,
}

/// One window for each handler that this process serves.
#[derive(Debug)]
pub(crate) struct Queues {
    windows: BTreeMap<Arc<str>, Window>,
    /// When the next task that is not due yet may be; the store knows better after a refill.
    pub(crate) next_due: Option<Timestamp>,
}

impl Queues {
    /// Empty windows that must be filled from the store first. `handlers` come with their slots.
    pub(crate) fn new(handlers: impl Iterator<Item = (Arc<str>, usize)>) -> Self {
        let windows = handlers
            .map(|(handler, slots)| {
                let window =
                    Window { tasks: BTreeMap::new(), capacity: (2 * slots).max(128), complete: false };
                (handler, window)
            })
            .collect();
        Self { windows, next_due: None }
    }

    /// True if this process has slots for the handler.
    pub(crate) fn serve(&self, handler: &str) -> bool {
        self.windows.contains_key(handler)
    }

    /// Forgets everything: the store is asked again.
    pub(crate) fn reset(&mut self) {
        for window in self.windows.values_mut() {
            window.tasks.clear();
            window.complete = false;
        }
    }

    /// True if a free slot could find nothing although the store may have something.
    pub(crate) fn wants_refill(&self, handler: &str) -> bool {
        self.windows.get(handler).is_some_and(|window| !window.complete && window.tasks.is_empty())
    }

    /// How many tasks a refill should bring.
    pub(crate) fn capacity(&self, handler: &str) -> usize {
        self.windows.get(handler).map_or(0, |window| window.capacity)
    }

    /// The first due tasks of the store, at most the capacity.
    pub(crate) fn refill(&mut self, handler: &str, tasks: Vec<Task>) {
        if let Some(window) = self.windows.get_mut(handler) {
            window.complete = tasks.len() < window.capacity;
            window.tasks = tasks.into_iter().map(|task| (rank(&task), task)).collect();
        }
    }

    /// A task that began to wait. Not due yet: remembered by its time only.
    pub(crate) fn offer(&mut self, task: Task, now: Timestamp) {
        if task.run_at > now {
            self.next_due = Some(self.next_due.map_or(task.run_at, |due| due.min(task.run_at)));
            return;
        }
        let Some(window) = self.windows.get_mut(&task.handler) else { return };
        let rank = rank(&task);
        // Behind the end of an incomplete window the store has others that may come first.
        if window.complete || window.tasks.last_key_value().is_some_and(|(last, _)| rank < *last) {
            window.tasks.insert(rank, task);
            if window.tasks.len() > window.capacity {
                window.tasks.pop_last();
                window.complete = false;
            }
        }
    }

    /// The first task of a handler.
    pub(crate) fn pop(&mut self, handler: &str) -> Option<Task> {
        self.windows.get_mut(handler)?.tasks.pop_first().map(|(_, task)| task)
    }

    /// A popped task that could not be used after all.
    pub(crate) fn put_back(&mut self, task: Task) {
        if let Some(window) = self.windows.get_mut(&task.handler) {
            window.tasks.insert(rank(&task), task);
        }
    }

    /// The first `n` tasks of a handler.
    pub(crate) fn peek(&self, handler: &str, n: usize) -> impl Iterator<Item = &Task> {
        self.windows.get(handler).into_iter().flat_map(move |window| window.tasks.values().take(n))
    }
}

#[cfg(test)]
mod tests {
    use quillwork_domain::id::JobId;
    use quillwork_domain::plan::StageIndex;
    use uuid::Uuid;

    use super::*;

    fn task(id: u128, priority: i16, run_at: i64) -> Task {
        Task {
            key: TaskKey { job: JobId(Uuid::from_u128(id)), stage: StageIndex(0) },
            handler: "echo".into(),
            priority,
            run_at: Timestamp::from_millis(run_at),
        }
    }

    fn queues() -> Queues {
        Queues::new([("echo".into(), 1)].into_iter())
    }

    fn order(queues: &mut Queues) -> Vec<u128> {
        std::iter::from_fn(|| queues.pop("echo")).map(|task| task.key.job.0.as_u128()).collect()
    }

    #[test]
    fn higher_priority_then_earlier_then_older() {
        let mut queues = queues();
        queues.refill("echo", vec![]);
        for task in [task(3, 0, 5), task(2, 0, 5), task(1, 0, 7), task(9, 4, 9)] {
            queues.offer(task, Timestamp::from_millis(10));
        }
        assert_eq!(order(&mut queues), [9, 2, 3, 1]);
    }

    #[test]
    fn what_is_not_due_only_sets_the_timer() {
        let mut queues = queues();
        queues.refill("echo", vec![]);
        queues.offer(task(1, 0, 50), Timestamp::from_millis(10));
        queues.offer(task(2, 0, 40), Timestamp::from_millis(10));
        assert_eq!(queues.next_due, Some(Timestamp::from_millis(40)));
        assert_eq!(order(&mut queues), [] as [u128; 0]);
    }

    #[test]
    fn a_full_window_never_overtakes_the_store() {
        let mut queues = queues();
        let stored: Vec<Task> = (0..128).map(|id| task(id, 0, 1)).collect();
        queues.refill("echo", stored);
        let now = Timestamp::from_millis(10);
        queues.offer(task(1_000, 0, 2), now);
        queues.offer(task(1_001, 1, 2), now);
        let mut expected: Vec<u128> = vec![1_001];
        expected.extend(0..127);
        assert_eq!(order(&mut queues), expected);
        assert!(queues.wants_refill("echo"));
    }
}
