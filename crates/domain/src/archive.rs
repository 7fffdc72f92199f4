//! Retention: finished jobs leave the log with all of their events, and one event says which, and what the chain was
//! there. Its own stream, so that a verifier finds all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::chain::GENESIS;
use crate::envelope::Recorded;
use crate::id::{JobId, Position, Version};
use crate::job::{Event, Job, Status, StepRecorded, evolve};
use crate::payload::Sha256Digest;
use crate::time::Timestamp;
use crate::usage::{self, UsageTally};
use crate::wire;

/// Jobs left the log. Shapes are frozen by the golden files in `tests/wire/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsArchived {
    /// All of these jobs ended before this time.
    pub through: Timestamp,
    pub jobs: Vec<ArchivedJob>,
    /// The positions that became holes, in order and without an overlap.
    pub runs: Vec<Run>,
    /// Where the events went; absent if they were dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<ArchiveFile>,
}

/// What is still counted of a job that left the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedJob {
    pub id: JobId,
    /// How it ended.
    pub status: Status,
    /// By the name of the stage.
    pub stages: BTreeMap<String, StageTally>,
    /// What was paid for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<UsageTally>,
}

/// The attempts of one stage of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTally {
    pub started: u64,
    pub completed: u64,
    pub failed: u64,
    /// Those of the failed that were given another attempt.
    pub retried: u64,
}

/// Neighbouring positions that are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub first: Position,
    pub last: Position,
    /// The hash of the event before `first`: nothing else is linked to it any more.
    pub before: Sha256Digest,
    /// The hash of the event that was at `last`: what the event behind the hole is linked to.
    pub hash: Sha256Digest,
}

/// The file that the removed events are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveFile {
    /// Without its folder, which may be moved.
    pub name: String,
    /// Of the file as it is, compressed.
    pub sha256: Sha256Digest,
    /// The size of the file as it is.
    pub bytes: u64,
    /// How many events are in it.
    pub events: u64,
}

/// A job that must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    #[error("it is not in the log")]
    Absent,
    #[error("it has not ended")]
    Open,
    #[error("it ended after the time limit")]
    TooYoung,
    #[error("its history changed since it was chosen")]
    Changed,
    #[error("its history cannot be read")]
    Undecodable,
    #[error("the event before one of its events is not in the log")]
    Unlinked,
}

/// A job that may leave: all of its events, and how many there are said to be.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub job: JobId,
    pub version: Version,
    pub events: &'a [Recorded],
}

/// Decides that `candidates` leave the log, all or none: each must have ended before `through`.
///
/// `hashes` has the hash at each of the [`edges`] of their events. Fails with every job that must stay, and why.
pub fn archive(
    candidates: &[Candidate<'_>],
    hashes: &BTreeMap<Position, Sha256Digest>,
    through: Timestamp,
    file: Option<ArchiveFile>,
) -> Result<JobsArchived, Vec<(JobId, Kept)>> {
    let (mut jobs, mut kept) = (Vec::new(), Vec::new());
    for candidate in candidates {
        match leave(candidate, through) {
            Ok(job) => jobs.push(job),
            Err(reason) => kept.push((candidate.job, reason)),
        }
    }
    if !kept.is_empty() {
        return Err(kept);
    }
    let events = || candidates.iter().flat_map(|candidate| candidate.events);
    match runs(events().map(|event| (event.position, event.hash)).collect(), hashes) {
        Ok(runs) => Ok(JobsArchived { through, jobs, runs, file }),
        Err(unlinked) => {
            let of = events().find(|event| event.position == unlinked.next());
            Err(of
                .and_then(|event| event.stream.job())
                .map(|job| (job, Kept::Unlinked))
                .into_iter()
                .collect())
        }
    }
}

fn leave(candidate: &Candidate<'_>, through: Timestamp) -> Result<ArchivedJob, Kept> {
    let Some(last) = candidate.events.last() else { return Err(Kept::Absent) };
    if last.version != candidate.version || candidate.events.len() as u64 != candidate.version.0 {
        return Err(Kept::Changed);
    }
    let mut job = Job::default();
    let mut stages = BTreeMap::<String, StageTally>::new();
    let mut usage = Vec::new();
    for recorded in candidate.events {
        let event = wire::decode(recorded).map_err(|_| Kept::Undecodable)?;
        if let Event::StepRecorded(StepRecorded { spent: Some(spent), .. }) = &event {
            usage::count(&mut usage, &recorded.meta.tenant, recorded.recorded_at.day(), spent);
        }
        tally(&mut stages, &event);
        job = evolve(job, &event);
    }
    // A job that has ended has the same status at any time.
    match job.status(last.recorded_at) {
        Some(status) if !status.is_terminal() => Err(Kept::Open),
        None => Err(Kept::Open),
        Some(_) if last.recorded_at >= through => Err(Kept::TooYoung),
        Some(status) => Ok(ArchivedJob { id: candidate.job, status, stages, usage }),
    }
}

fn tally(stages: &mut BTreeMap<String, StageTally>, event: &Event) {
    let mut stage = |name: &str, count: &dyn Fn(&mut StageTally)| {
        count(stages.entry(name.to_owned()).or_default());
    };
    match event {
        Event::StageStarted(started) => stage(&started.stage, &|tally| tally.started += 1),
        Event::StageCompleted(completed) => stage(&completed.stage, &|tally| tally.completed += 1),
        Event::StageFailed(failed) => stage(&failed.stage, &|tally| {
            tally.failed += 1;
            tally.retried += u64::from(!failed.is_final);
        }),
        Event::JobSubmitted(_)
        | Event::StepRecorded(_)
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

/// The positions directly before runs of neighbours among `positions`; 0 is before the first event.
pub fn edges(positions: impl IntoIterator<Item = Position>) -> Vec<Position> {
    let positions: BTreeSet<Position> = positions.into_iter().collect();
    let before = positions.iter().map(|position| Position(position.0.saturating_sub(1)));
    before.filter(|before| !positions.contains(before)).collect()
}

/// The longest runs of neighbours among `events`, in order. Fails with an edge whose hash is not among `hashes`.
pub fn runs(
    mut events: Vec<(Position, Sha256Digest)>,
    hashes: &BTreeMap<Position, Sha256Digest>,
) -> Result<Vec<Run>, Position> {
    events.sort_unstable_by_key(|(position, _)| *position);
    let mut runs: Vec<Run> = Vec::new();
    for (position, hash) in events {
        match runs.last_mut() {
            Some(run) if run.last.next() == position => (run.last, run.hash) = (position, hash),
            Some(_) | None => {
                let edge = Position(position.0.saturating_sub(1));
                let before = match hashes.get(&edge) {
                    Some(before) => *before,
                    None if edge == Position::START => GENESIS,
                    None => return Err(edge),
                };
                runs.push(Run { first: position, last: position, before, hash });
            }
        }
    }
    Ok(runs)
}

/// True if `runs`, in order, have every position from `first` to `last`.
pub fn cover(runs: &[Run], first: Position, last: Position) -> bool {
    let mut next = first;
    for run in runs {
        if run.first > next || next > last {
            break;
        }
        next = next.max(run.last.next());
    }
    next > last
}

#[cfg(test)]
mod tests;
