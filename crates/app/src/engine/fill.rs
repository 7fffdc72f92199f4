//! Filling free slots with waiting stages, as part of planning a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use quillwork_domain::envelope::Meta;
use quillwork_domain::job::{Command, ErrorClass};
use tokio_util::sync::CancellationToken;

use crate::engine::cache::KnownJob;
use crate::engine::plan_batch::{Authority, BatchPlan, Circumstances};
use crate::engine::queue::Queues;
use crate::engine::supply::{Found, Supply};
use crate::engine::{Funds, StageRun};
use crate::ports::store::{Holder, Task, TaskKey};

impl BatchPlan<'_> {
    /// Fails a job of which no worker can run a stage that waits.
    pub(crate) fn abandon(&mut self, TaskKey { job, stage }: TaskKey) {
        let authority = Authority { meta: self.on_behalf(job, "engine"), held_by: Holder::Anyone };
        let message = "no worker has the handler of this stage; start one that has it, then retry the job";
        let class = ErrorClass::UnknownHandler;
        let command = Command::Abandon { stage, class, message: message.to_owned() };
        if let Err(refusal) = self.apply(job, command, &authority) {
            tracing::error!(%job, %refusal, "a task belongs to no job; rebuild the queue");
        }
    }

    /// Fills free slots with due tasks, those of the store before those of this batch. True if a slot stays free
    /// although the store may have a task for it.
    pub(crate) fn fill(&mut self, queues: &mut Queues, supply: Supply) -> bool {
        let Supply { room, mut found, relieved } = supply;
        self.batch.news.waiting.extend(relieved);
        let mut offers = self.offers(queues);
        let mut starved = false;
        for (handler, mut room) in room {
            // Looked at before this batch changed what is allowed.
            let outdated = self.controlled.contains(&*handler);
            if outdated {
                starved |= room > 0;
                room = 0;
            }
            let found = found.remove(&handler).unwrap_or_else(|| Found::nothing(!queues.may_wait(&handler)));
            let Found { tasks: mut line, exhausted, trimmed } = found;
            let n_found = line.len();
            let offered = offers.remove(&handler).unwrap_or_default();
            let n_offered = offered.len();
            line = queues.line(&handler, line, offered, exhausted);
            let left_out = trimmed || line.len() < n_found + n_offered;
            let mut line = line.into_iter();
            while room > 0 {
                let Some(task) = line.next() else { break };
                if self.start(&handler, task.key) {
                    queues.took_turn(&handler, &task.tenant);
                    room -= 1;
                }
            }
            let more = !exhausted || left_out || line.len() > 0 || outdated;
            queues.set_waiting(&handler, more);
            starved |= more && room > 0;
        }
        for handler in offers.keys() {
            queues.set_waiting(handler, true);
        }
        starved
    }

    /// The due tasks that this batch opens or gives back, by handler. Those whose handler nobody has are given up.
    fn offers(&mut self, queues: &mut Queues) -> BTreeMap<Arc<str>, Vec<Task>> {
        let mut offers: BTreeMap<Arc<str>, Vec<Task>> = BTreeMap::new();
        let mut unserved = Vec::new();
        for task in self.tasks.waiting() {
            if !queues.serve(&task.handler) {
                unserved.push(task.key);
            } else if task.run_at > self.circumstances.now {
                queues.note_due(task.run_at);
            } else {
                offers.entry(task.handler.clone()).or_default().push(task.clone());
            }
        }
        if self.circumstances.exclusive {
            unserved.into_iter().for_each(|key| self.abandon(key));
        }
        offers
    }

    /// Starts the stage of a waiting task. False if it no longer waits, which the log knows better than a window.
    fn start(&mut self, handler: &Arc<str>, key: TaskKey) -> bool {
        let meta = self.on_behalf(key.job, "engine");
        let authority = Authority { meta, held_by: Holder::Nobody };
        if let Some(reason) = self.cache.get(key.job).and_then(|known| known.undecodable.clone()) {
            let class = ErrorClass::Undecodable;
            let command = Command::Abandon { stage: key.stage, class, message: reason };
            // Nothing to do about a job that has ended in the meantime.
            let _ = self.apply(key.job, command, &authority);
            return false;
        }
        let Circumstances { worker, now, .. } = &self.circumstances;
        let command = Command::StartStage { stage: key.stage, worker: (*worker).clone(), at: *now };
        if self.apply(key.job, command, &authority).is_err() {
            return false;
        }
        match self.cache.get(key.job).and_then(|known| stage_run(key, known)) {
            Some(run) => {
                self.started.push((handler.clone(), run));
                true
            }
            None => false,
        }
    }
}

fn stage_run(key: TaskKey, known: &KnownJob) -> Option<StageRun> {
    let TaskKey { job: id, stage } = key;
    let job = &known.job;
    let state = job.stage(stage)?;
    let meta = Meta { causation_id: known.last_event, ..known.origin.clone()? };
    Some(StageRun {
        job: id,
        stage,
        attempt: state.attempt,
        submitted: job.submitted.clone()?,
        outputs: job.outputs_before(stage).cloned().collect(),
        round: job.round,
        retries: job.retries,
        rounds: job.rounds,
        feedback: job.feedback.clone(),
        steps: state.steps.clone(),
        funds: Funds::of(job),
        meta,
        cancel: CancellationToken::new(),
    })
}
