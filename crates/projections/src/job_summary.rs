//! `job_summary`: where each job stands.

use std::collections::BTreeMap;

use quillwork_app::ports::store::Entry;
use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::job::{Event, JobError, JobPaused, Status, Usage};
use quillwork_domain::time::Timestamp;
use quillwork_domain::usage::{self, UsageTally};
use serde::{Deserialize, Serialize};

use crate::job_group::GroupStage;

/// A job as clients read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    pub id: JobId,
    /// As of the last event; see [`JobSummary::at`].
    pub status: Status,
    pub topic: String,
    pub pipeline: String,
    /// The stage that runs or waits, of several the first without a result; the last one once the job is completed.
    pub stage: Option<String>,
    /// How often that stage was started, over all rounds.
    pub attempt: Attempt,
    /// Who runs that stage now; None while it waits.
    pub worker: Option<String>,
    /// Since when.
    pub stage_started_at: Option<Timestamp>,
    pub progress: Progress,
    /// Counts from 1; one more each time that a stage sent the job back.
    pub round: u32,
    /// The stages that run at the same time, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<GroupStage>,
    pub submitted_at: Timestamp,
    /// When the first stage was started for the first time.
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Why the job failed, while it is failed.
    pub error: Option<JobError>,
    pub labels: BTreeMap<String, String>,
    /// The version of the last event that is folded in.
    pub version: Version,
    /// The position of the last event that is folded in.
    pub position: Position,
    pub priority: i16,
    /// Not before this time.
    pub run_at: Option<Timestamp>,
    /// When the next attempt of a stage may start, while the job is retrying.
    pub retry_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub tenant: String,
    /// The names of all stages, in order.
    pub stages: Vec<String>,
    /// Tokens that providers were paid for, over all attempts that completed.
    pub usage: Option<Usage>,
    /// The position of the job's first event: the order of lists.
    pub submitted_position: Position,
    /// The places of the stages that run beside the one before them. Not for clients: the pipelines tell it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<u32>,
    /// Why the job waits for money, and until when, while it is paused.
    pub pause: Option<JobPaused>,
    /// How much may be paid for it, in millionths of a US dollar; None if that is not limited.
    #[serde(skip)]
    pub budget_micros: Option<u64>,
    /// What was paid for it. Not for clients: it is there for the day on which the job leaves the log.
    #[serde(skip)]
    pub paid: Vec<UsageTally>,
    /// For each stage, what the counters have of this job: attempts started, completed, failed and retried. Not for
    /// clients: it is there for the day on which the job leaves the log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<[u64; 4]>,
}

/// Completed stages, out of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub done: u32,
    pub total: u32,
}

impl JobSummary {
    /// The job as it shows at `now`: a scheduled job is queued once its time has come, without any event.
    pub fn at(mut self, now: Timestamp) -> Self {
        if self.status == Status::Scheduled && self.run_at.is_none_or(|run_at| run_at <= now) {
            self.status = Status::Queued;
        }
        self
    }

    /// What was paid for it, in millionths of a US dollar.
    pub fn spent_micros(&self) -> u64 {
        self.paid.iter().fold(0, |sum, tally| sum.saturating_add(tally.paid.cost_micros))
    }

    /// The place in the plan of the stage that is shown, from 0.
    pub fn stage_index(&self) -> u32 {
        // All stages are done in a completed job, whose current stage is the last one.
        let alone = self.progress.done.min(self.progress.total.saturating_sub(1));
        let shown = || self.group.iter().find(|stage| !stage.is_done()).or(self.group.last());
        shown().map_or(alone, |stage| stage.stage_index)
    }

    /// `key:value` of each label.
    pub(crate) fn label_keys(&self) -> impl Iterator<Item = String> + '_ {
        self.labels.iter().map(|(key, value)| format!("{key}:{value}"))
    }

    /// What the counters have of the attempts of a stage.
    pub(crate) fn counted_of(&self, stage: &str) -> [u64; 4] {
        let index = self.stages.iter().position(|name| name == stage);
        index.and_then(|index| self.counted.get(index).copied()).unwrap_or_default()
    }

    fn count(&mut self, stage: &str, added: [u64; 4]) {
        let index = self.stages.iter().position(|name| name == stage);
        if let Some(counted) = index.and_then(|index| self.counted.get_mut(index)) {
            counted.iter_mut().zip(added).for_each(|(counted, added)| *counted += added);
        }
    }

    /// A job without a running stage waits: in the queue at first, and between stages it counts as running.
    pub(crate) fn waiting(&self) -> Status {
        if self.progress.done == 0 && self.round == 1 { Status::Queued } else { Status::Running }
    }
}

/// Folds one event into the row of its job.
///
/// Pure and total. The projector, rebuilds and questions about the past all use it. A job begins with `JobSubmitted`;
/// anything before that, and anything that is of no job, folds to nothing.
pub fn fold(mut summary: Option<JobSummary>, entry: &Entry) -> Option<JobSummary> {
    fold_in_place(&mut summary, entry);
    summary
}

/// The same for who has many rows: they are large.
pub(crate) fn fold_in_place(summary: &mut Option<JobSummary>, entry: &Entry) {
    let recorded = &entry.recorded;
    let Some(job) = summary else {
        *summary = submitted(entry);
        return;
    };
    let at = recorded.recorded_at;
    match &entry.event {
        // A job is submitted once; a second time changes nothing but the version.
        Event::JobSubmitted(_) | Event::Queue(_) | Event::Archive(_) | Event::Content(_) => {}
        Event::StepRecorded(step) => {
            if let Some(spent) = &step.spent {
                usage::count(&mut job.paid, &recorded.meta.tenant, at.day(), spent);
            }
        }
        Event::StageStarted(started) => {
            job.count(&started.stage, [1, 0, 0, 0]);
            job.started_at.get_or_insert(at);
            job.status = Status::Running;
            job.begin(&started.stage, started.attempt, &started.worker, at);
        }
        Event::StageCompleted(completed) => {
            job.count(&completed.stage, [0, 1, 0, 0]);
            job.progress.done = (job.progress.done + 1).min(job.progress.total);
            job.complete(&completed.stage, completed.rework.is_some());
            if let Some(used) = &completed.usage {
                let sum = job.usage.get_or_insert(Usage { input_tokens: 0, output_tokens: 0 });
                sum.input_tokens = sum.input_tokens.saturating_add(used.input_tokens);
                sum.output_tokens = sum.output_tokens.saturating_add(used.output_tokens);
            }
        }
        Event::StageFailed(failed) => {
            job.count(&failed.stage, [0, 0, 1, u64::from(!failed.is_final)]);
            if failed.is_parked() {
                job.park(&failed.stage);
            } else {
                job.fail(&failed.stage, failed.retry_at);
            }
        }
        Event::JobPaused(paused) => job.pause = Some(paused.clone()),
        Event::JobResumed(_) => job.resume(),
        Event::BudgetSet(set) => job.budget_micros = Some(set.max_cost_micros),
        Event::StagesReopened(reopened) => {
            job.round = reopened.round;
            job.reopen(&reopened.stage);
        }
        Event::JobCompleted(_) => {
            job.status = Status::Completed;
            job.finished_at = Some(at);
        }
        Event::JobFailed(failed) => {
            job.status = Status::Failed;
            job.error = Some(failed.error.clone());
            job.finished_at = Some(at);
            job.stop();
        }
        Event::JobCancelled(_) => {
            job.status = Status::Cancelled;
            job.finished_at = Some(at);
            job.stop();
        }
        Event::JobRetried(_) => {
            job.retry();
            job.status = job.waiting();
            job.error = None;
            job.finished_at = None;
        }
    }
    if job.status != Status::Paused {
        job.pause = None;
    }
    job.version = recorded.version;
    job.position = recorded.position;
    job.updated_at = at;
}

fn submitted(entry: &Entry) -> Option<JobSummary> {
    let Event::JobSubmitted(submitted) = &entry.event else { return None };
    let recorded = &entry.recorded;
    let id = recorded.stream.job()?;
    let stages: Vec<String> = submitted.plan.stages().iter().map(|stage| stage.name.clone()).collect();
    let beside = (0_u32..).zip(submitted.plan.stages()).filter(|(_, stage)| stage.beside_previous);
    let beside = beside.map(|(place, _)| place).collect();
    let mut job = JobSummary {
        id,
        status: if submitted.run_at.is_some() { Status::Scheduled } else { Status::Queued },
        topic: submitted.topic.clone(),
        pipeline: submitted.pipeline.clone(),
        stage: stages.first().cloned(),
        attempt: Attempt::default(),
        worker: None,
        stage_started_at: None,
        progress: Progress { done: 0, total: u32::try_from(stages.len()).unwrap_or(u32::MAX) },
        submitted_at: recorded.recorded_at,
        started_at: None,
        finished_at: None,
        error: None,
        labels: submitted.labels.clone(),
        version: recorded.version,
        position: recorded.position,
        priority: submitted.priority,
        run_at: submitted.run_at,
        retry_at: None,
        updated_at: recorded.recorded_at,
        tenant: recorded.meta.tenant.as_ref().to_owned(),
        counted: vec![[0; 4]; stages.len()],
        stages,
        usage: None,
        submitted_position: recorded.position,
        budget_micros: submitted.budget.map(|budget| budget.max_cost_micros),
        paid: vec![],
        pause: None,
        round: 1,
        group: vec![],
        beside,
    };
    job.enter(0);
    Some(job)
}

/// Which jobs to list, newest first. What is None does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    pub status: Option<Status>,
    pub pipeline: Option<String>,
    /// Whose jobs.
    pub tenant: Option<String>,
    /// `key:value`.
    pub label: Option<String>,
    /// Part of the topic, in any case.
    pub search: Option<String>,
    /// Only jobs that were submitted before this position.
    pub before: Option<Position>,
}

/// Jobs in the order of their submission, newest first.
///
/// On PostgreSQL a search, or a label together with more, looks at a bounded number of jobs for each page: such a page may
/// hold fewer than were asked for, even none, and still have a next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPage {
    pub items: Vec<JobSummary>,
    /// The [`JobFilter::before`] of the next page; None at the end.
    pub next: Option<Position>,
}
