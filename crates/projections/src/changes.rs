//! Folding a batch: what a run of events changes in all read models.

use std::collections::HashMap;

use quillwork_app::ports::store::Entry;
use quillwork_domain::id::{JobId, Position, Version};
use quillwork_domain::payload::Sha256Digest;

use crate::job_summary::{self, JobSummary};
use crate::job_timeline::{self, TimelineEntry};
use crate::stats::StatsDelta;

/// How far the read models are: the last event that they contain, and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub position: Position,
    pub hash: Sha256Digest,
}

/// An event that does not follow on what is folded already; going on would falsify every row after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfStep {
    #[error("expected event {expected}, got {found}")]
    Position { expected: Position, found: Position },
    #[error("event {position} is version {found} of job {job}, of which the read model has {has} versions")]
    Version { position: Position, job: JobId, has: Version, found: Version },
}

/// What one commit writes. Each row occurs once, however many events changed it.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    /// The jobs that the batch is about. None until `JobSubmitted` was folded.
    pub(crate) jobs: HashMap<JobId, Option<JobSummary>>,
    /// `key:value` of new jobs.
    pub(crate) labels: Vec<(String, Position)>,
    /// Attempts that ended, each with the first position of its job.
    pub(crate) timeline: Vec<(Position, TimelineEntry)>,
    pub(crate) stats: StatsDelta,
    pub(crate) through: Checkpoint,
}

impl Changes {
    /// Nothing yet, after `checkpoint`.
    pub(crate) fn after(checkpoint: Checkpoint) -> Self {
        Self {
            jobs: HashMap::new(),
            labels: Vec::new(),
            timeline: Vec::new(),
            stats: StatsDelta::default(),
            through: checkpoint,
        }
    }

    /// Folds the next event of the log. The row of its job is in `jobs` unless the event is the job's first.
    pub(crate) fn fold(&mut self, entry: &Entry) -> Result<(), OutOfStep> {
        let recorded = &entry.recorded;
        let expected = self.through.position.next();
        if recorded.position != expected {
            return Err(OutOfStep::Position { expected, found: recorded.position });
        }
        let job = self.jobs.entry(recorded.job).or_default();
        let has = job.as_ref().map_or(Version::default(), |job| job.version);
        if recorded.version != has.next() {
            let (position, job, found) = (recorded.position, recorded.job, recorded.version);
            return Err(OutOfStep::Version { position, job, has, found });
        }
        if let Some(job) = &job
            && let Some(attempt) = job_timeline::fold(job, entry)
        {
            self.timeline.push((job.submitted_position, attempt));
        }
        let before = job.as_ref().map(|job| job.status);
        *job = job_summary::fold(job.take(), entry);
        if let Some(job) = job {
            self.stats.count(before, job, &entry.event);
            if before.is_none() {
                self.labels.extend(
                    job.labels.iter().map(|(key, value)| (format!("{key}:{value}"), job.submitted_position)),
                );
            }
        }
        self.through = Checkpoint { position: recorded.position, hash: recorded.hash };
        Ok(())
    }
}
