//! What the engine knows of the waiting tasks without asking the store: for each handler whether there may be any, and
//! which tenant had the last turn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use quillwork_domain::time::Timestamp;

use crate::ports::store::{Claim, Task, TaskKey};

/// The order of one tenant's tasks: higher priority first, then the earlier, then the older job.
pub(crate) fn rank(task: &Task) -> (Reverse<i16>, Timestamp, TaskKey) {
    (Reverse(task.priority), task.run_at, task.key)
}

/// One handler's queue as far as this process knows it.
#[derive(Debug)]
struct Known {
    /// The store may have due tasks. False is certain as long as no other process has added one.
    waiting: bool,
    /// The tenant whose task was started last.
    last_turn: Arc<str>,
}

/// The queues of the handlers that this process serves.
#[derive(Debug)]
pub(crate) struct Queues {
    handlers: BTreeMap<Arc<str>, Known>,
    /// When the first task becomes due that is not yet.
    pub(crate) next_due: Option<Timestamp>,
    /// Of tasks that are due after this time nothing is known, not even when the first one is.
    pub(crate) unknown_after: Option<Timestamp>,
}

impl Queues {
    /// Queues of which nothing is known yet.
    pub(crate) fn new(handlers: impl Iterator<Item = Arc<str>>) -> Self {
        let unknown = |handler| (handler, Known { waiting: true, last_turn: "".into() });
        // The first round asks the store for the next due time.
        let unknown_after = Some(Timestamp::default());
        Self { handlers: handlers.map(unknown).collect(), next_due: None, unknown_after }
    }

    pub(crate) fn handlers(&self) -> Vec<Arc<str>> {
        self.handlers.keys().cloned().collect()
    }

    /// True if this process has slots for the handler.
    pub(crate) fn serve(&self, handler: &str) -> bool {
        self.handlers.contains_key(handler)
    }

    /// Forgets everything at `now`: the store is asked again.
    pub(crate) fn reset(&mut self, now: Timestamp) {
        self.handlers.values_mut().for_each(|known| known.waiting = true);
        self.next_due = None;
        self.unknown_after = self.unknown_after.or(Some(now));
    }

    /// A handler got tasks that wait, at `now` or until their time. True if this process serves it.
    pub(crate) fn note(&mut self, handler: &str, now: Timestamp) -> bool {
        let Some(known) = self.handlers.get_mut(handler) else { return false };
        known.waiting = true;
        self.unknown_after = self.unknown_after.or(Some(now));
        true
    }

    /// Remembers when a waiting task becomes due.
    pub(crate) fn note_due(&mut self, at: Timestamp) {
        self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
    }

    /// True if the store may have due tasks of a handler.
    pub(crate) fn may_wait(&self, handler: &str) -> bool {
        self.handlers.get(handler).is_some_and(|known| known.waiting)
    }

    pub(crate) fn set_waiting(&mut self, handler: &str, waiting: bool) {
        if let Some(known) = self.handlers.get_mut(handler) {
            known.waiting = waiting;
        }
    }

    /// What to ask the store for, so that `room` slots of `handler` find work.
    pub(crate) fn claim(&self, handler: &Arc<str>, room: usize) -> Option<Claim> {
        let known = self.handlers.get(handler).filter(|known| known.waiting && room > 0)?;
        Some(Claim { handler: handler.clone(), after: known.last_turn.clone(), limit: room })
    }

    /// A task of the tenant was started.
    pub(crate) fn took_turn(&mut self, handler: &str, tenant: &Arc<str>) {
        if let Some(known) = self.handlers.get_mut(handler) {
            known.last_turn = tenant.clone();
        }
    }

    /// The tasks of the store and those that a batch offers, in the order in which they are started. If the store has more,
    /// an offer that one of those could precede is left out.
    pub(crate) fn line(
        &self,
        handler: &str,
        found: Vec<Task>,
        offered: Vec<Task>,
        exhausted: bool,
    ) -> Vec<Task> {
        let mut line = found;
        if exhausted {
            line.extend(offered);
        } else {
            let mut last = HashMap::new();
            for task in &line {
                let last = last.entry(task.tenant.clone()).or_insert_with(|| rank(task));
                *last = rank(task).max(*last);
            }
            let precedes = |task: &Task| last.get(&task.tenant).is_some_and(|last| rank(task) < *last);
            line.extend(offered.into_iter().filter(precedes));
        }
        self.in_turns(handler, line)
    }

    /// Those of the store's tasks that are among the first `limit` of the line.
    pub(crate) fn first(
        &self,
        handler: &str,
        found: Vec<Task>,
        offered: Vec<Task>,
        exhausted: bool,
        limit: usize,
    ) -> Vec<Task> {
        if offered.is_empty() {
            return found;
        }
        let keys: HashSet<TaskKey> = found.iter().map(|task| task.key).collect();
        let line = self.line(handler, found, offered, exhausted);
        line.into_iter().take(limit).filter(|task| keys.contains(&task.key)).collect()
    }

    /// Puts tasks in the order in which they are started: tenants take turns, beginning after the one that had the last;
    /// a tenant's tasks come by [`rank`].
    fn in_turns(&self, handler: &str, tasks: Vec<Task>) -> Vec<Task> {
        let mut tenants: BTreeMap<Arc<str>, Vec<Task>> = BTreeMap::new();
        for task in tasks {
            tenants.entry(task.tenant.clone()).or_default().push(task);
        }
        let mut lines: VecDeque<(Arc<str>, VecDeque<Task>)> = tenants
            .into_iter()
            .map(|(tenant, mut tasks)| {
                tasks.sort_unstable_by_key(rank);
                (tenant, tasks.into())
            })
            .collect();
        if let Some(known) = self.handlers.get(handler) {
            let begin = lines.partition_point(|(tenant, _)| *tenant <= known.last_turn);
            lines.rotate_left(begin);
        }
        let mut ordered = Vec::new();
        while let Some((tenant, mut line)) = lines.pop_front() {
            ordered.extend(line.pop_front());
            if !line.is_empty() {
                lines.push_back((tenant, line));
            }
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use quillwork_domain::id::JobId;
    use quillwork_domain::plan::StageIndex;
    use uuid::Uuid;

    use super::*;

    fn task(id: u128, tenant: &str, priority: i16, run_at: i64) -> Task {
        Task {
            key: TaskKey { job: JobId(Uuid::from_u128(id)), stage: StageIndex(0) },
            handler: "echo".into(),
            tenant: tenant.into(),
            priority,
            run_at: Timestamp::from_millis(run_at),
        }
    }

    #[track_caller]
    fn check(last_turn: &str, tasks: Vec<Task>, expected: &[u128]) {
        let mut queues = Queues::new(["echo".into()].into_iter());
        queues.took_turn("echo", &last_turn.into());
        let order = queues.in_turns("echo", tasks);
        let order: Vec<u128> = order.iter().map(|task| task.key.job.0.as_u128()).collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn one_tenants_tasks_come_by_priority_then_time_then_age() {
        let tasks = vec![task(3, "a", 0, 5), task(2, "a", 0, 5), task(1, "a", 0, 7), task(9, "a", 4, 9)];
        check("", tasks, &[9, 2, 3, 1]);
    }

    #[test]
    fn tenants_take_turns_whatever_the_priorities() {
        let tasks = vec![task(1, "a", 9, 1), task(2, "a", 9, 2), task(3, "a", 9, 3), task(4, "b", 0, 9)];
        check("", tasks, &[1, 4, 2, 3]);
    }

    #[test]
    fn the_turn_goes_on_after_the_tenant_that_had_the_last() {
        let tasks = || vec![task(1, "a", 0, 1), task(2, "b", 0, 1), task(3, "c", 0, 1), task(4, "a", 0, 2)];
        check("a", tasks(), &[2, 3, 1, 4]);
        check("b", tasks(), &[3, 1, 2, 4]);
        check("z", tasks(), &[1, 2, 3, 4]);
    }

    #[test]
    fn only_what_may_wait_is_asked_for() {
        let mut queues = Queues::new(["echo".into()].into_iter());
        assert_eq!(queues.claim(&"echo".into(), 3).unwrap().limit, 3);
        assert_eq!(queues.claim(&"echo".into(), 0), None);
        assert_eq!(queues.claim(&"other".into(), 3), None);
        queues.set_waiting("echo", false);
        assert_eq!(queues.claim(&"echo".into(), 3), None);
        assert!(queues.note("echo", Timestamp::default()));
        assert!(queues.claim(&"echo".into(), 3).is_some());
    }
}
