//! The states of open jobs, bounded by memory.
//!
//! Exact as long as the head of the log is what this engine last wrote. After a failed commit it is thrown away and
//! reloaded, never patched back.

use lru::LruCache;
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::JobId;
use quillwork_domain::job::{Job, evolve};
use quillwork_domain::payload::Payload;
use quillwork_domain::wire;
use uuid::Uuid;

/// A job as the engine knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownJob {
    pub(crate) job: Job,
    /// Who submitted it and under which request; None until there is an event.
    pub(crate) origin: Option<Meta>,
    pub(crate) last_event: Option<Uuid>,
    /// Why its history cannot be read; such a job can only be given up.
    pub(crate) undecodable: Option<String>,
}

impl KnownJob {
    /// Folds a stream; stops at the first event that this version cannot read.
    pub(crate) fn fold(stream: &[Recorded]) -> Self {
        let mut known = Self::default();
        for recorded in stream {
            if known.undecodable.is_none() {
                match wire::decode(recorded) {
                    Ok(event) => known.job = evolve(known.job, &event),
                    Err(error) => {
                        known.undecodable = Some(format!("event {}: {error}", recorded.position));
                    }
                }
            }
            known.job.version = recorded.version;
            known.origin.get_or_insert_with(|| recorded.meta.clone());
            known.last_event = Some(recorded.event_id);
        }
        known
    }

    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        let inline = |payload: &Payload| match payload {
            Payload::Inline(json) => json.get().len(),
            Payload::Blob(_) => 0,
        };
        let job = &self.job;
        let submitted = job.submitted.as_ref().map_or(0, |submitted| {
            submitted.topic.len() + submitted.settings.as_ref().map_or(0, |settings| settings.get().len())
        });
        1_536
            + submitted
            + job.outputs.iter().map(inline).sum::<usize>()
            + job.steps.iter().map(|step| 128 + inline(&step.output)).sum::<usize>()
    }
}

/// Least recently used jobs leave first.
pub(crate) struct Cache {
    /// Boxed, because entries are taken out and put back for every command.
    jobs: LruCache<JobId, (Box<KnownJob>, usize)>,
    bytes: usize,
    max_bytes: usize,
}

impl Cache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { jobs: LruCache::unbounded(), bytes: 0, max_bytes }
    }

    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.jobs.contains(&job)
    }

    pub(crate) fn get(&mut self, job: JobId) -> Option<&KnownJob> {
        self.jobs.get(&job).map(|(known, _)| known.as_ref())
    }

    /// Takes a job out, to be put back changed.
    pub(crate) fn take(&mut self, job: JobId) -> Option<Box<KnownJob>> {
        let (known, weight) = self.jobs.pop(&job)?;
        self.bytes -= weight;
        Some(known)
    }

    pub(crate) fn put(&mut self, job: JobId, known: Box<KnownJob>) {
        let weight = known.weight();
        self.bytes += weight;
        if let Some((_, (_, weight))) = self.jobs.push(job, (known, weight)) {
            self.bytes -= weight;
        }
    }

    /// Makes room. Between batches, so that no batch loses a job that it needs.
    pub(crate) fn trim(&mut self) {
        while self.bytes > self.max_bytes {
            let Some((_, (_, weight))) = self.jobs.pop_lru() else { break };
            self.bytes -= weight;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.jobs.clear();
        self.bytes = 0;
    }
}
