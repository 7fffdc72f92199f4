//! The states of open jobs, bounded by memory.
//!
//! Exact as long as the head of the log is what this engine last wrote. When another process has written, an entry
//! counts again once its stream was looked at. After a failed commit the cache is thrown away and reloaded, never
//! patched back.

use lru::LruCache;
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::JobId;
use quillwork_domain::job::{Job, StageState, evolve};
use quillwork_domain::payload::Payload;
use quillwork_domain::plan::StageIndex;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use uuid::Uuid;

use crate::engine::content::Versions;
use crate::ports::store::{Task, TaskKey};

/// A job as the engine knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownJob {
    pub(crate) job: Job,
    /// Who submitted it and under which request; None until there is an event.
    pub(crate) origin: Option<Meta>,
    pub(crate) last_event: Option<Uuid>,
    /// Since when the job waits or runs: its place among the jobs of its tenant.
    pub(crate) since: Timestamp,
    /// Why its history cannot be read; such a job can only be given up.
    pub(crate) undecodable: Option<String>,
}

impl KnownJob {
    /// Folds the events that follow; stops at the first one that this version cannot read.
    pub(crate) fn fold(&mut self, events: &[Recorded]) {
        for recorded in events {
            if self.undecodable.is_none() {
                match wire::decode(recorded) {
                    Ok(event) => self.job = evolve(std::mem::take(&mut self.job), &event),
                    Err(error) => {
                        self.undecodable = Some(format!("event {}: {error}", recorded.position));
                    }
                }
            }
            self.job.version = recorded.version;
            if self.origin.is_none() {
                self.begin(recorded.meta.clone(), recorded.recorded_at);
            }
            self.last_event = Some(recorded.event_id);
        }
    }

    /// The job came to be at `at`.
    pub(crate) fn begin(&mut self, origin: Meta, at: Timestamp) {
        self.origin = Some(origin);
        self.since = self.job.submitted.as_ref().and_then(|submitted| submitted.run_at).unwrap_or(at);
    }

    /// The tasks that there will be once `stage` has its result.
    pub(crate) fn next_tasks(&self, id: JobId, stage: StageIndex) -> impl Iterator<Item = Task> + '_ {
        self.job.following(stage).filter_map(move |stage| {
            let submitted = self.job.submitted.as_ref()?;
            Some(Task {
                key: TaskKey { job: id, stage },
                handler: submitted.plan.get(stage)?.handler.clone(),
                tenant: self.origin.as_ref()?.tenant.clone(),
                priority: submitted.priority,
                run_at: self.since,
            })
        })
    }

    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        let job = &self.job;
        let submitted = job.submitted.as_ref().map_or(0, |submitted| {
            submitted.topic.len() + submitted.settings.as_ref().map_or(0, |settings| settings.get().len())
        });
        let stage = |stage: &StageState| {
            let steps: usize = stage.steps.iter().map(|step| 128 + step.output.n_bytes()).sum();
            128 + steps + stage.output.as_ref().map_or(0, Payload::n_bytes)
        };
        1_280
            + submitted
            + job.stages.iter().map(stage).sum::<usize>()
            + job.feedback.iter().map(Payload::n_bytes).sum::<usize>()
    }
}

/// Least recently used jobs leave first.
pub(crate) struct Cache {
    jobs: LruCache<JobId, Entry>,
    bytes: usize,
    max_bytes: usize,
    /// Counts how often another process has written.
    epoch: u64,
    pub(super) versions: Versions,
}

struct Entry {
    /// Boxed, because entries are taken out and put back for every change.
    known: Box<KnownJob>,
    weight: usize,
    epoch: u64,
}

impl Cache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { jobs: LruCache::unbounded(), bytes: 0, max_bytes, epoch: 0, versions: Versions::new() }
    }

    /// Another process has written: what is here may be behind.
    pub(crate) fn outdate(&mut self) {
        self.epoch += 1;
        self.versions.outdate();
    }

    /// True if the job is here as it is in the log.
    pub(crate) fn is_exact(&self, job: JobId) -> bool {
        self.jobs.peek(&job).is_some_and(|entry| entry.epoch == self.epoch)
    }

    pub(crate) fn get(&mut self, job: JobId) -> Option<&KnownJob> {
        self.jobs.get(&job).map(|entry| entry.known.as_ref())
    }

    /// Looks without counting as a use.
    pub(crate) fn peek(&self, job: JobId) -> Option<&KnownJob> {
        self.jobs.peek(&job).map(|entry| entry.known.as_ref())
    }

    /// Takes a job out, to be put back changed.
    pub(crate) fn take(&mut self, job: JobId) -> Option<Box<KnownJob>> {
        let entry = self.jobs.pop(&job)?;
        self.bytes -= entry.weight;
        Some(entry.known)
    }

    /// Keeps a job as it is in the log, or will be after this batch.
    pub(crate) fn put(&mut self, job: JobId, known: Box<KnownJob>) {
        let weight = known.weight();
        self.bytes += weight;
        if let Some((_, replaced)) = self.jobs.push(job, Entry { known, weight, epoch: self.epoch }) {
            self.bytes -= replaced.weight;
        }
    }

    /// Makes room. Between batches, so that no batch loses a job that it needs.
    pub(crate) fn trim(&mut self) {
        while self.bytes > self.max_bytes {
            let Some((_, oldest)) = self.jobs.pop_lru() else { break };
            self.bytes -= oldest.weight;
        }
        self.versions.trim();
    }

    pub(crate) fn clear(&mut self) {
        self.jobs.clear();
        self.versions.clear();
        self.bytes = 0;
    }
}
