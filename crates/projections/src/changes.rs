//! Folding a batch: what a run of events changes in all read models.

use std::collections::{BTreeMap, HashMap, HashSet};

use quillwork_app::ports::store::Entry;
use quillwork_domain::archive::JobsArchived;
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::job::{Event, Status};
use quillwork_domain::payload::Sha256Digest;

use crate::content_analytics::ContentChanges;
use crate::job_summary::{self, JobSummary};
use crate::job_timeline::{self, TimelineEntry};
use crate::queues::{self, QueueRow};
use crate::stats::StatsDelta;
use crate::usage::UsageDelta;

/// How far the read models are: the last event that they contain, and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub position: Position,
    pub hash: Sha256Digest,
}

/// An event that does not follow on what is folded already; going on would falsify every row after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfStep {
    #[error("expected event {expected} or a later one, got {found}")]
    Position { expected: Position, found: Position },
    #[error("event {position} is version {found} of {stream}, of which the read model has {has} versions")]
    Version { position: Position, stream: StreamId, has: Version, found: Version },
}

/// What one commit writes. Each row occurs once, however many events changed it.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    /// The jobs that the batch is about.
    pub(crate) jobs: HashMap<JobId, Changed>,
    /// `key:value` of new jobs.
    pub(crate) labels: Vec<(String, Position)>,
    /// Attempts that ended, each with the first position of its job.
    pub(crate) timeline: Vec<(Position, TimelineEntry)>,
    /// Jobs that left the log, as they were; their rows go.
    pub(crate) removed: Vec<JobSummary>,
    pub(crate) stats: StatsDelta,
    pub(crate) usage: UsageDelta,
    /// All queues by handler, if the batch has news of them; empty if not.
    pub(crate) queues: BTreeMap<String, QueueRow>,
    /// Articles that the batch is about.
    pub(crate) contents: ContentChanges,
    pub(crate) through: Checkpoint,
}

/// A job that has news.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changed {
    /// The status in its row; None if it has none yet.
    pub(crate) stored: Option<Status>,
    /// None until `JobSubmitted` was folded.
    pub(crate) job: Option<JobSummary>,
}

impl Changed {
    /// A job as it is in the tables.
    pub(crate) fn stored(job: JobSummary) -> Self {
        Self { stored: Some(job.status), job: Some(job) }
    }

    /// The row to be written, and the status in the one that it takes the place of.
    pub(crate) fn row(&self) -> Option<(&JobSummary, Option<Status>)> {
        self.job.as_ref().map(|job| (job, self.stored))
    }

    /// True if the job may have more news soon.
    pub(crate) fn is_open(&self) -> bool {
        self.job.as_ref().is_some_and(|job| !job.status.is_terminal())
    }
}

impl Changes {
    /// Nothing yet, after `checkpoint`.
    pub(crate) fn after(checkpoint: Checkpoint) -> Self {
        Self {
            jobs: HashMap::new(),
            labels: Vec::new(),
            timeline: Vec::new(),
            removed: Vec::new(),
            stats: StatsDelta::default(),
            usage: UsageDelta::default(),
            queues: BTreeMap::new(),
            contents: ContentChanges::default(),
            through: checkpoint,
        }
    }

    /// Folds the next event of the log, which the feed has found to be the next. The row of its job is in `jobs` unless the
    /// event is the job's first, as are the rows of jobs that left the log; all queues are in `queues` if it is of theirs,
    /// and in `contents` is what [`Wanted`](crate::content_analytics::Wanted) names.
    pub(crate) fn fold(&mut self, entry: &Entry) -> Result<(), OutOfStep> {
        let recorded = &entry.recorded;
        let expected = self.through.position.next();
        // Behind a hole it is a later one.
        if recorded.position < expected {
            return Err(OutOfStep::Position { expected, found: recorded.position });
        }
        match recorded.stream {
            StreamId::Job(job) => self.fold_job(job, entry)?,
            StreamId::Queues => {
                check_version(queues::version(&self.queues), entry)?;
                queues::fold(&mut self.queues, entry);
            }
            StreamId::Archive => {
                if let Event::Archive(archived) = &entry.event {
                    self.archive(archived);
                }
            }
            StreamId::Content(article) => {
                check_version(self.contents.version(article), entry)?;
                self.contents.fold(article, entry);
            }
        }
        self.through = Checkpoint { position: recorded.position, hash: recorded.hash };
        Ok(())
    }

    fn archive(&mut self, archived: &JobsArchived) {
        let mut gone = HashSet::new();
        for job in &archived.jobs {
            let row = self.jobs.remove(&job.id).and_then(|changed| changed.job);
            self.stats.archive(row.as_ref(), job);
            self.usage.archive(row.as_ref(), job);
            gone.extend(row.as_ref().map(|row| row.submitted_position));
            self.removed.extend(row);
            self.contents.archive(job.id);
        }
        // Of jobs whose beginning is in this batch, too.
        self.labels.retain(|(_, position)| !gone.contains(position));
        self.timeline.retain(|(position, _)| !gone.contains(position));
    }

    fn fold_job(&mut self, id: JobId, entry: &Entry) -> Result<(), OutOfStep> {
        let job = &mut self.jobs.entry(id).or_default().job;
        check_version(job.as_ref().map_or(Version::default(), |job| job.version), entry)?;
        if let Some(job) = job {
            job_timeline::fold(job, entry, &mut self.timeline);
        }
        self.contents.fold_job(id, entry);
        let before = job.as_ref().map(|job| job.status);
        job_summary::fold_in_place(job, entry);
        if let Some(job) = job {
            self.stats.count(before, job, &entry.event);
            self.usage.count(entry);
            if before.is_none() {
                self.labels.extend(job.label_keys().map(|label| (label, job.submitted_position)));
            }
        }
        Ok(())
    }
}

/// The entry must be the next of its stream, of which `has` versions are folded.
fn check_version(has: Version, entry: &Entry) -> Result<(), OutOfStep> {
    let recorded = &entry.recorded;
    if recorded.version == has.next() {
        return Ok(());
    }
    let (position, stream, found) = (recorded.position, recorded.stream, recorded.version);
    Err(OutOfStep::Version { position, stream, has, found })
}
