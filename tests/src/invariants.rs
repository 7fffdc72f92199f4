//! What must be true of a log, and of everything that follows from it, whatever happened on the way.
//!
//! Pure, and written apart from the engine: events are read as plain JSON and folded by rules of their own, so that a
//! defect in `decide`, `evolve`, `react` or a projection does not hide itself. Only the hash of an event is computed by
//! the product's code, whose formula is frozen by tests of its own.

mod log;
mod read_model;
mod story;

use std::collections::BTreeMap;

use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::JobId;
use quillwork_domain::time::Timestamp;

pub use read_model::{Row, flat};

use story::{Stories, Story};

/// What a run leaves behind.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Every submission that was answered with a 2xx, also a repeated one.
    pub acknowledged: Vec<Acknowledged>,
    /// The whole log, in the order in which the store returns it.
    pub log: Vec<Recorded>,
    /// When the run began and ended, by the clock of the test.
    pub between: (Timestamp, Timestamp),
    /// The tasks that are left, for people.
    pub queue: Vec<String>,
    /// The read model of jobs, each row.
    pub rows: Vec<Row>,
    /// The counters as a flat map: `jobs.completed`, `stages.echo-1.started`.
    pub stats: BTreeMap<String, u64>,
}

/// A submission that a client was told is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The idempotency key that came with it.
    pub key: String,
    pub job: JobId,
}

/// Everything that is wrong, one sentence each; empty if nothing is.
pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut findings = check_log(&evidence.log, evidence.between);
    let stories = Stories::of(&evidence.log);
    findings.extend(acknowledged(&evidence.acknowledged, &stories));
    findings.extend(ended(&stories));
    findings.extend(evidence.queue.iter().map(|task| format!("the queue still has {task}")));
    findings.extend(read_model::check(&evidence.rows, &evidence.stats, &stories, evidence.log.len()));
    findings
}

/// The rules of the log alone; its jobs need not have ended.
pub fn check_log(log: &[Recorded], between: (Timestamp, Timestamp)) -> Vec<String> {
    let mut findings = log::check(log, between);
    findings.extend(Stories::of(log).findings);
    findings
}

/// A client that was told a job is durable finds it, and finds one job for one key.
fn acknowledged(acknowledged: &[Acknowledged], stories: &Stories) -> Vec<String> {
    let mut findings = Vec::new();
    let mut by_key: BTreeMap<&str, JobId> = BTreeMap::new();
    for Acknowledged { key, job } in acknowledged {
        let first = by_key.entry(key).or_insert(*job);
        if first != job {
            findings.push(format!("key {key} was acknowledged as job {first} and as job {job}"));
        }
        match stories.jobs.get(job) {
            None => findings.push(format!("job {job} was acknowledged (key {key}) and is not in the log")),
            Some(story) if story.key.as_deref() != Some(key.as_str()) => findings.push(format!(
                "job {job} was acknowledged for key {key} and was recorded with key {:?}",
                story.key
            )),
            Some(_) => {}
        }
    }
    let mut by_key: BTreeMap<(&str, &str), JobId> = BTreeMap::new();
    for (job, story) in &stories.jobs {
        if let Some(key) = &story.key
            && let Some(other) = by_key.insert((&story.tenant, key), *job)
        {
            findings.push(format!("key {key} made two jobs, {other} and {job}"));
        }
    }
    findings
}

fn ended(stories: &Stories) -> Vec<String> {
    let open = |(job, story): (&JobId, &Story)| {
        (!story.status.is_terminal())
            .then(|| format!("job {job} has not ended: it is {}, version {}", story.status, story.version))
    };
    stories.jobs.iter().filter_map(open).collect()
}

#[cfg(test)]
mod tests;
