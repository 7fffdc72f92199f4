//! The free places of this process, one pool per stage handler: the bulkheads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use quillwork_domain::id::{Attempt, JobId};
use quillwork_domain::plan::StageIndex;
use tokio_util::sync::CancellationToken;

use crate::engine::supply::PerHandler;
use crate::engine::{StageRun, WorkerPort};
use crate::ports::store::TaskKey;

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RunKey {
    pub(crate) job: JobId,
    pub(crate) stage: StageIndex,
    pub(crate) attempt: Attempt,
}

impl RunKey {
    pub(crate) fn of(run: &StageRun) -> Self {
        Self { job: run.job, stage: run.stage, attempt: run.attempt }
    }
}

/// What runs here, and how much more may.
pub(crate) struct Slots {
    ports: BTreeMap<Arc<str>, (WorkerPort, usize)>,
    running: HashMap<RunKey, (Arc<str>, CancellationToken)>,
}

impl Slots {
    pub(crate) fn new(ports: Vec<WorkerPort>) -> Self {
        let ports = ports.into_iter().map(|port| (port.handler.clone(), (port, 0))).collect();
        Self { ports, running: HashMap::new() }
    }

    pub(crate) fn handlers(&self) -> impl Iterator<Item = Arc<str>> {
        self.ports.keys().cloned()
    }

    pub(crate) fn serves(&self, handler: &str) -> bool {
        self.ports.contains_key(handler)
    }

    /// The free slots of every handler.
    pub(crate) fn free(&self) -> PerHandler {
        let free =
            |(port, used): &(WorkerPort, usize)| (port.handler.clone(), port.slots.saturating_sub(*used));
        self.ports.values().map(free).collect()
    }

    /// True if the attempt runs here.
    pub(crate) fn holds(&self, key: RunKey) -> bool {
        self.running.contains_key(&key)
    }

    /// How many of these attempts run here, by handler.
    pub(crate) fn count(&self, keys: impl Iterator<Item = RunKey>) -> PerHandler {
        let mut counts = PerHandler::new();
        for (handler, _) in keys.filter_map(|key| self.running.get(&key)) {
            *counts.entry(handler.clone()).or_default() += 1;
        }
        counts
    }

    /// True if some attempt of the task runs here.
    pub(crate) fn runs(&self, task: TaskKey) -> bool {
        self.running.keys().any(|key| key.job == task.job && key.stage == task.stage)
    }

    pub(crate) fn n_running(&self) -> usize {
        self.running.len()
    }

    /// Takes a slot and hands the stage to its worker.
    pub(crate) fn start(&mut self, handler: &str, run: StageRun) {
        if let Some((port, used)) = self.ports.get_mut(handler) {
            *used += 1;
            self.running.insert(RunKey::of(&run), (port.handler.clone(), run.cancel.clone()));
            // A worker that is gone cannot report; its process is ending, and the lease runs out.
            let _ = port.runs.send(run);
        }
    }

    /// Frees the slot of an attempt that ended.
    pub(crate) fn finish(&mut self, key: RunKey) {
        if let Some((handler, _)) = self.running.remove(&key)
            && let Some((_, used)) = self.ports.get_mut(&handler)
        {
            *used -= 1;
        }
    }

    /// Tells an attempt to end.
    pub(crate) fn cancel(&self, key: RunKey) {
        if let Some((_, cancel)) = self.running.get(&key) {
            cancel.cancel();
        }
    }

    /// Tells every attempt to end whose task is not among `held`.
    pub(crate) fn cancel_all_but(&self, held: &[TaskKey]) {
        let held: HashSet<TaskKey> = held.iter().copied().collect();
        for (key, (_, cancel)) in &self.running {
            if !held.contains(&TaskKey { job: key.job, stage: key.stage }) {
                cancel.cancel();
            }
        }
    }

    pub(crate) fn cancel_all(&self) {
        self.running.values().for_each(|(_, cancel)| cancel.cancel());
    }
}
