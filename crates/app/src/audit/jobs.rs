//! What the events so far make of each job, in little memory.

use std::mem;
use std::sync::Arc;

// The hasher of the standard library took two percent of a replay.
use hashbrown::HashMap;
use quillwork_domain::id::JobId;
use quillwork_domain::job::{Budget, Event, Job, JobSubmitted, Phase, TaskChange, evolve, react};
use quillwork_domain::plan::{Plan, StageIndex};
use quillwork_domain::time::Timestamp;

/// All jobs that were seen.
#[derive(Default)]
pub(super) struct Jobs {
    known: HashMap<JobId, Known>,
    /// One copy of each plan, priority and budget, shared by the jobs that have it.
    plans: Plans,
}

type Plans = HashMap<(Plan, i16, Option<Budget>), Arc<JobSubmitted>>;

/// What is remembered of a job.
pub(super) enum Known {
    /// Waits, runs, or may be set going again.
    Live(Box<LiveJob>),
    /// Nothing can happen any more.
    Completed,
    /// Its events are not followed: it broke a rule, or its beginning was not seen.
    Unfollowed,
}

impl Known {
    /// A job of which nothing was seen yet.
    fn new() -> Self {
        let (job, tasks, since) = (Job::default(), Vec::new(), Timestamp::default());
        Self::Live(Box::new(LiveJob { job, tasks, tenant: "".into(), since }))
    }
}

/// A job and its tasks. Topic, settings, labels and outputs are left out: no rule is about them.
pub(super) struct LiveJob {
    pub(super) job: Job,
    /// In no order.
    pub(super) tasks: Vec<LiveTask>,
    /// Whose job it is.
    pub(super) tenant: Arc<str>,
    /// Since when it waits or runs.
    pub(super) since: Timestamp,
}

/// The task of a stage that runs or waits.
#[derive(Clone, Copy)]
pub(super) struct LiveTask {
    pub(super) stage: StageIndex,
    pub(super) run_at: Timestamp,
    pub(super) held: bool,
}

impl Jobs {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// True if an event of the job was seen.
    pub(super) fn has(&self, id: JobId) -> bool {
        self.known.contains_key(&id)
    }

    /// True if the job is followed and has not completed.
    pub(super) fn is_open(&self, id: JobId) -> bool {
        matches!(self.known.get(&id), Some(Known::Live(_)))
    }

    /// The job as it is now; a new one if it was never seen.
    pub(super) fn get(&mut self, id: JobId) -> &mut Known {
        self.known.entry(id).or_insert_with(Known::new)
    }

    /// Stops following a job.
    pub(super) fn give_up(&mut self, id: JobId) {
        self.known.insert(id, Known::Unfollowed);
    }

    /// True if the job is remembered and not followed.
    pub(super) fn is_unfollowed(&self, id: JobId) -> bool {
        matches!(self.known.get(&id), Some(Known::Unfollowed))
    }

    /// Folds an event of a job, unless the job is not followed.
    pub(super) fn fold(&mut self, id: JobId, event: &Event, recorded_at: Timestamp, tenant: &str) {
        let known = self.known.entry(id).or_insert_with(Known::new);
        let Known::Live(live) = known else { return };
        let LiveJob { job, tasks, since, .. } = live.as_mut();
        for change in react(job, event) {
            match change {
                TaskChange::Open { stage, run_at } => {
                    tasks.push(LiveTask { stage, run_at: run_at.unwrap_or(recorded_at), held: false });
                }
                TaskChange::Follow { stage } => tasks.push(LiveTask { stage, run_at: *since, held: false }),
                TaskChange::Lease { stage } => {
                    tasks.iter_mut().filter(|task| task.stage == stage).for_each(|task| task.held = true);
                }
                TaskChange::Release { stage, run_at } => {
                    for task in tasks.iter_mut().filter(|task| task.stage == stage) {
                        (task.run_at, task.held) = (run_at, false);
                    }
                }
                TaskChange::Resume { stage } => {
                    for task in tasks.iter_mut().filter(|task| task.stage == stage) {
                        (task.run_at, task.held) = (*since, false);
                    }
                }
                TaskChange::Close { stage } => tasks.retain(|task| task.stage != stage),
            }
        }
        let mut job = evolve(mem::take(&mut live.job), event);
        job.stages.iter_mut().for_each(|stage| stage.output = None);
        job.feedback.clear();
        if let Event::JobSubmitted(submitted) = event {
            live.tenant = tenant.into();
            live.since = submitted.run_at.unwrap_or(recorded_at);
            job.submitted = Some(slim(&mut self.plans, submitted));
        }
        if job.phase == Phase::Completed {
            *known = Known::Completed;
        } else {
            live.job = job;
        }
    }

    /// The jobs that have not completed, in no order.
    pub(super) fn live(&self) -> impl Iterator<Item = (JobId, &LiveJob)> {
        self.known.iter().filter_map(|(id, known)| match known {
            Known::Live(live) => Some((*id, live.as_ref())),
            Known::Completed | Known::Unfollowed => None,
        })
    }
}

/// The submission with nothing but its plan, its priority and its budget.
fn slim(plans: &mut Plans, submitted: &JobSubmitted) -> Arc<JobSubmitted> {
    let kept = (submitted.plan.clone(), submitted.priority, submitted.budget);
    let slim = plans.entry(kept).or_insert_with(|| {
        Arc::new(JobSubmitted {
            priority: submitted.priority,
            budget: submitted.budget,
            ..JobSubmitted::new(String::new(), String::new(), submitted.plan.clone())
        })
    });
    slim.clone()
}
