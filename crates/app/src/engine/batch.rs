//! The net effect of a batch on the queue: each task at most once, however often it changed hands.

use std::collections::HashMap;

use crate::ports::store::{Holder, LeaseToken, Task, TaskKey, TaskWrite};

/// What becomes of one task.
#[derive(Debug)]
struct Pending {
    /// Who must hold the task in the store; None if the store does not have it.
    found: Option<Holder>,
    task: Task,
    lease: Option<LeaseToken>,
    rescheduled: bool,
    gone: bool,
}

/// The queue changes of a batch, merged by task.
#[derive(Debug, Default)]
pub(crate) struct PendingTasks {
    order: Vec<TaskKey>,
    tasks: HashMap<TaskKey, Pending>,
}

impl PendingTasks {
    /// A task that waits from now on.
    pub(crate) fn open(&mut self, task: Task) {
        let run_at = task.run_at;
        let pending = self.entry(task, None);
        pending.task.run_at = run_at;
        (pending.gone, pending.lease, pending.rescheduled) = (false, None, true);
    }

    /// A waiting task is taken.
    pub(crate) fn lease(&mut self, task: Task, lease: LeaseToken) {
        self.entry(task, Some(Holder::Nobody)).lease = Some(lease);
    }

    /// A held task is given back; it waits until its time.
    pub(crate) fn release(&mut self, task: Task, held_by: Holder) {
        let run_at = task.run_at;
        let pending = self.entry(task, Some(held_by));
        pending.task.run_at = run_at;
        (pending.lease, pending.rescheduled) = (None, true);
    }

    /// The task is done with.
    pub(crate) fn close(&mut self, task: Task, held_by: Holder) {
        self.entry(task, Some(held_by)).gone = true;
    }

    /// The entry of a task, remembering how the store has it.
    fn entry(&mut self, task: Task, found: Option<Holder>) -> &mut Pending {
        let key = task.key;
        let order = &mut self.order;
        self.tasks.entry(key).or_insert_with(|| {
            order.push(key);
            Pending { found, task, lease: None, rescheduled: false, gone: false }
        })
    }

    /// The tasks that wait at the end of the batch and were opened or given back in it.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Task> {
        self.order
            .iter()
            .filter_map(|key| self.tasks.get(key))
            .filter(|pending| pending.rescheduled && pending.lease.is_none() && !pending.gone)
            .map(|pending| &pending.task)
    }

    /// How many tasks the batch adds to the queue, less those that it takes away.
    pub(crate) fn growth(&self) -> i64 {
        self.tasks
            .values()
            .map(|pending| match (pending.found, pending.gone) {
                (None, false) => 1,
                (Some(_), true) => -1,
                (None, true) | (Some(_), false) => 0,
            })
            .sum()
    }

    /// The writes, in the order in which the tasks were first touched.
    pub(crate) fn into_writes(mut self) -> Vec<TaskWrite> {
        let mut writes = Vec::with_capacity(self.order.len());
        for key in self.order {
            let Some(Pending { found, task, lease, rescheduled, gone }) = self.tasks.remove(&key) else {
                continue;
            };
            match (found, gone) {
                (None, true) => {}
                (None, false) => writes.push(TaskWrite::Insert { task, lease }),
                (Some(held_by), true) => writes.push(TaskWrite::Delete { key, held_by }),
                (Some(held_by), false) => {
                    let run_at = rescheduled.then_some(task.run_at);
                    writes.push(TaskWrite::Move { key, held_by, lease, run_at });
                }
            }
        }
        writes
    }
}

#[cfg(test)]
mod tests {
    use quillwork_domain::id::JobId;
    use quillwork_domain::plan::StageIndex;
    use quillwork_domain::time::Timestamp;
    use uuid::Uuid;

    use super::*;

    const MINE: LeaseToken = LeaseToken(7);

    fn task(run_at: i64) -> Task {
        Task {
            key: TaskKey { job: JobId(Uuid::from_u128(1)), stage: StageIndex(0) },
            handler: "echo".into(),
            tenant: "default".into(),
            priority: 0,
            run_at: Timestamp::from_millis(run_at),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut PendingTasks), expected: &[TaskWrite]) {
        let mut tasks = PendingTasks::default();
        change(&mut tasks);
        assert_eq!(tasks.into_writes(), expected);
    }

    #[test]
    fn opened_and_taken_is_born_leased() {
        let write = TaskWrite::Insert { task: task(1), lease: Some(MINE) };
        check(
            |t| {
                t.open(task(1));
                t.lease(task(1), MINE)
            },
            &[write],
        );
    }

    #[test]
    fn opened_and_closed_never_was() {
        check(
            |t| {
                t.open(task(1));
                t.close(task(1), Holder::Anyone)
            },
            &[],
        );
    }

    #[test]
    fn taken_and_closed_is_deleted_from_the_waiting() {
        let write = TaskWrite::Delete { key: task(1).key, held_by: Holder::Nobody };
        check(
            |t| {
                t.lease(task(1), MINE);
                t.close(task(1), Holder::Anyone)
            },
            &[write],
        );
    }

    #[test]
    fn given_back_and_taken_again_stays_fenced_by_the_first_holder() {
        let old = Holder::Lease(LeaseToken(3));
        let write = TaskWrite::Move {
            key: task(1).key,
            held_by: old,
            lease: Some(MINE),
            run_at: Some(Timestamp::from_millis(5)),
        };
        check(
            |t| {
                t.release(task(5), old);
                t.lease(task(5), MINE)
            },
            &[write],
        );
    }

    #[test]
    fn closed_and_opened_again_is_moved() {
        let write = TaskWrite::Move {
            key: task(1).key,
            held_by: Holder::Anyone,
            lease: None,
            run_at: Some(Timestamp::from_millis(9)),
        };
        check(
            |t| {
                t.close(task(1), Holder::Anyone);
                t.open(task(9))
            },
            &[write],
        );
    }
}
