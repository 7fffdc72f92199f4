//! Holes: what left the log, and the events that say so.

use std::collections::HashMap;

use quillwork_domain::archive::{JobsArchived, Run};
use quillwork_domain::id::{Position, StreamId, Version};
use quillwork_domain::job::Event;
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::wire;
use sha2::{Digest, Sha256};

use crate::audit::log::shorten;
use crate::ports::store::{LogReader, StoreError};

/// Holes read at a time.
const ROWS: usize = 1_000;

/// Events of the archive's stream read at a time: they are large.
const EVENTS: usize = 4;

/// The holes that were crossed, until an event says what was there.
pub(super) struct Holes {
    /// By their first position, with a print of all of it.
    crossed: HashMap<u64, u128>,
    /// Before the first position that is looked at.
    start: Position,
    /// Events up to here were committed before the audit began: what they say left is gone.
    settled: Position,
    /// The file is an archive: what it does not have is elsewhere.
    archive: bool,
    n_events: u64,
    n_told: u64,
    /// Runs that an event tells of and that were seen as events.
    n_present: u64,
}

impl Holes {
    pub(super) fn after(start: Position) -> Self {
        Self {
            crossed: HashMap::new(),
            start,
            settled: Position::START,
            archive: false,
            n_events: 0,
            n_told: 0,
            n_present: 0,
        }
    }

    /// What events up to `position` say left the log is gone; else it may have left while the log was read.
    pub(super) fn settle(&mut self, position: Position) {
        self.settled = position;
    }

    /// True if what the event at `position` says left must be gone.
    pub(super) fn must_be_gone(&self, position: Position) -> bool {
        position <= self.settled
    }

    /// The file has nothing but archived events.
    pub(super) fn set_archive(&mut self) {
        self.archive = true;
    }

    pub(super) fn is_archive(&self) -> bool {
        self.archive
    }

    pub(super) fn cross(&mut self, run: &Run) {
        self.n_events += (run.last.0 + 1).saturating_sub(run.first.0);
        if !self.archive {
            self.crossed.insert(run.first.0, print(run));
        }
    }

    /// Takes in what the event at `position` says; returns what does not fit.
    pub(super) fn told(&mut self, position: Position, archived: &JobsArchived) -> Vec<String> {
        let mut wrong = Vec::new();
        for run in &archived.runs {
            self.n_told += 1;
            let Run { first, last, .. } = run;
            match self.crossed.remove(&first.0) {
                Some(found) if found == print(run) => {}
                Some(_) => {
                    wrong.push(format!("the hole from {first} is not the one that was archived, to {last}"))
                }
                // Before what is looked at.
                None if *last <= self.start => {}
                None if self.must_be_gone(position) => {
                    wrong.push(format!("events {first} to {last} were archived, but there is no such hole"));
                }
                None => self.n_present += 1,
            }
        }
        wrong
    }

    /// Holes that no event tells of.
    pub(super) fn untold(&self) -> Vec<(Position, String)> {
        let mut firsts: Vec<u64> = self.crossed.keys().copied().collect();
        firsts.sort_unstable();
        let message = |first| format!("no event says that what was at {first} was archived");
        firsts.into_iter().map(|first| (Position(first), message(first))).collect()
    }

    /// How many positions were crossed.
    pub(super) fn n_events(&self) -> u64 {
        self.n_events
    }

    /// How many runs the events tell of.
    pub(super) fn n_told(&self) -> u64 {
        self.n_told
    }

    /// Of those, how many are there as events.
    pub(super) fn n_present(&self) -> u64 {
        self.n_present
    }
}

fn print(run: &Run) -> u128 {
    let mut hash = Sha256::new();
    hash.update(run.first.0.to_le_bytes());
    hash.update(run.last.0.to_le_bytes());
    hash.update(run.before.0);
    hash.update(run.hash.0);
    shorten(hash.finalize().into())
}

/// The holes from `first` up to the event `found`, in order. There may be positions that none of them has.
pub async fn runs_between(
    reader: &dyn LogReader,
    first: Position,
    found: Position,
) -> Result<Vec<Run>, StoreError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut after = Position(first.0.saturating_sub(1));
    while after.next() < found {
        let page = reader.archived_runs(after, ROWS).await?;
        let Some(last) = page.last() else { break };
        after = last.last;
        runs.extend(page.into_iter().filter(|run| run.last < found));
    }
    Ok(runs)
}

/// How many holes there are.
pub(super) async fn count(reader: &dyn LogReader) -> Result<u64, StoreError> {
    let (mut n, mut after) = (0, Position::START);
    loop {
        let page = reader.archived_runs(after, ROWS).await?;
        let Some(last) = page.last() else { return Ok(n) };
        (n, after) = (n + page.len() as u64, last.last);
    }
}

/// The event that names an archive file by its digest, if there is one.
pub(super) async fn find_archive(
    reader: &dyn LogReader,
    sha256: Sha256Digest,
) -> Result<Option<(Position, JobsArchived)>, StoreError> {
    let mut after = Version::default();
    loop {
        let page = reader.stream(StreamId::Archive, after, EVENTS).await?;
        let Some(last) = page.last() else { return Ok(None) };
        after = last.version;
        for recorded in &page {
            if let Ok(Event::Archive(archived)) = wire::decode(recorded)
                && archived.file.as_ref().is_some_and(|file| file.sha256 == sha256)
            {
                return Ok(Some((recorded.position, archived)));
            }
        }
    }
}
