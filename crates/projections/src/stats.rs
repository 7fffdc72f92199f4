//! `stats`: counters that follow the jobs from status to status, so that nobody ever counts jobs.

use std::collections::BTreeMap;

use quillwork_domain::archive::ArchivedJob;
use quillwork_domain::id::Position;
use quillwork_domain::job::{Event, Status};
use serde::Serialize;

use crate::job_summary::JobSummary;

/// How many, as clients read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub jobs: JobCounts,
    /// The last event that is counted.
    pub position: Position,
    /// By the name of the stage.
    pub stages: BTreeMap<String, StageCounts>,
}

/// Jobs by status now, and how many there ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobCounts {
    pub submitted: u64,
    pub scheduled: u64,
    pub queued: u64,
    pub running: u64,
    pub retrying: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub paused: u64,
}

impl JobCounts {
    pub(crate) fn status_mut(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::Scheduled => &mut self.scheduled,
            Status::Queued => &mut self.queued,
            Status::Running => &mut self.running,
            Status::Retrying => &mut self.retrying,
            Status::Completed => &mut self.completed,
            Status::Failed => &mut self.failed,
            Status::Cancelled => &mut self.cancelled,
            Status::Paused => &mut self.paused,
        }
    }
}

/// Attempts of one stage, over all jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StageCounts {
    pub started: u64,
    pub completed: u64,
    pub failed: u64,
    /// Those of the failed that were given another attempt.
    pub retried: u64,
}

/// How a batch of events moves the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatsDelta {
    submitted: i64,
    by_status: BTreeMap<Status, i64>,
    stages: BTreeMap<String, StageCounts>,
}

impl StatsDelta {
    /// Counts one event; `before` and `after` are its job around it.
    pub(crate) fn count(&mut self, before: Option<Status>, after: &JobSummary, event: &Event) {
        if before != Some(after.status) {
            if let Some(before) = before {
                *self.by_status.entry(before).or_default() -= 1;
            }
            *self.by_status.entry(after.status).or_default() += 1;
        }
        match event {
            Event::JobSubmitted(_) => self.submitted += i64::from(before.is_none()),
            Event::StageStarted(started) => self.stage(&started.stage).started += 1,
            Event::StageCompleted(completed) => self.stage(&completed.stage).completed += 1,
            Event::StageFailed(failed) => {
                let stage = self.stage(&failed.stage);
                stage.failed += 1;
                stage.retried += u64::from(!failed.is_final);
            }
            Event::StepRecorded(_)
            | Event::JobCompleted(_)
            | Event::JobFailed(_)
            | Event::JobCancelled(_)
            | Event::JobRetried(_)
            | Event::StagesReopened(_)
            | Event::JobPaused(_)
            | Event::JobResumed(_)
            | Event::BudgetSet(_)
            | Event::Queue(_)
            | Event::Archive(_)
            | Event::Content(_) => {}
        }
    }

    /// Counts a job that left the log as it ended. What `before` has of it is counted already; the rest of its events may
    /// have left before anybody counted them.
    pub(crate) fn archive(&mut self, before: Option<&JobSummary>, job: &ArchivedJob) {
        let status = before.map(|before| before.status);
        self.submitted += i64::from(before.is_none());
        if status != Some(job.status) {
            if let Some(status) = status {
                *self.by_status.entry(status).or_default() -= 1;
            }
            *self.by_status.entry(job.status).or_default() += 1;
        }
        for (name, tally) in &job.stages {
            let [started, completed, failed, retried] =
                before.map(|before| before.counted_of(name)).unwrap_or_default();
            let stage = self.stage(name);
            stage.started += tally.started.saturating_sub(started);
            stage.completed += tally.completed.saturating_sub(completed);
            stage.failed += tally.failed.saturating_sub(failed);
            stage.retried += tally.retried.saturating_sub(retried);
        }
    }

    fn stage(&mut self, name: &str) -> &mut StageCounts {
        self.stages.entry(name.to_owned()).or_default()
    }

    /// The stored counters and by how much each moves. All counters of jobs are named, also those that do not move,
    /// so that the rows do not depend on how the events fell into batches.
    pub(crate) fn rows(&self) -> Vec<(String, i64)> {
        let mut rows = vec![("jobs.submitted".to_owned(), self.submitted)];
        for status in Status::ALL {
            rows.push((format!("jobs.{status}"), self.by_status.get(&status).copied().unwrap_or(0)));
        }
        for (name, counts) in &self.stages {
            let StageCounts { started, completed, failed, retried } = *counts;
            for (kind, n) in
                [("started", started), ("completed", completed), ("failed", failed), ("retried", retried)]
            {
                rows.push((format!("stages.{name}.{kind}"), i64::try_from(n).unwrap_or(i64::MAX)));
            }
        }
        rows
    }
}

impl Stats {
    /// Takes one stored counter; one that this version does not know is left out.
    pub(crate) fn set(&mut self, name: &str, value: i64) {
        let value = u64::try_from(value).unwrap_or(0);
        if let Some(status) = name.strip_prefix("jobs.") {
            match Status::from_name(status) {
                Some(status) => *self.jobs.status_mut(status) = value,
                None if status == "submitted" => self.jobs.submitted = value,
                None => {}
            }
        } else if let Some((stage, kind)) =
            name.strip_prefix("stages.").and_then(|name| name.rsplit_once('.'))
        {
            let counts = self.stages.entry(stage.to_owned()).or_default();
            match kind {
                "started" => counts.started = value,
                "completed" => counts.completed = value,
                "failed" => counts.failed = value,
                "retried" => counts.retried = value,
                _ => {}
            }
        }
    }

    /// Counts `n` scheduled jobs as queued, because their time has come.
    pub(crate) fn due(&mut self, n: u64) {
        let n = n.min(self.jobs.scheduled);
        self.jobs.scheduled -= n;
        self.jobs.queued += n;
    }
}
