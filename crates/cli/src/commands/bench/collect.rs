//! Putting together what clients and event stream report.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::mpsc::UnboundedReceiver;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Note {
    /// The server took jobs.
    Accepted { ids: Vec<u128>, started: Instant, answered: Instant },
    /// The server will not take jobs.
    Refused { kind: String, jobs: u64 },
    /// Something failed and is tried again.
    Trouble(String),
    /// A job ended, ours or not.
    Ended { job: u128, end: End, at: Instant },
}

/// What was measured. Latencies in microseconds.
pub(super) struct Measured {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) submit: Histogram<u64>,
    pub(super) end_to_end: Histogram<u64>,
    pub(super) errors: BTreeMap<String, u64>,
    first_start: Option<Instant>,
    last_answer: Option<Instant>,
    last_end: Option<Instant>,
}

impl Measured {
    fn new() -> Self {
        Self {
            accepted: 0,
            refused: 0,
            completed: 0,
            failed: 0,
            submit: histogram(),
            end_to_end: histogram(),
            errors: BTreeMap::new(),
            first_start: None,
            last_answer: None,
            last_end: None,
        }
    }

    /// From the first submission to the last answer.
    pub(super) fn submitting(&self) -> Duration {
        span(self.first_start, self.last_answer)
    }

    /// From the first submission to the last end.
    pub(super) fn total(&self) -> Duration {
        span(self.first_start, self.last_end)
    }

    fn end(&mut self, started: Instant, at: Instant, end: End) {
        match end {
            End::Completed => {
                self.completed += 1;
                self.end_to_end.saturating_record(micros(at.saturating_duration_since(started)));
            }
            End::Failed => self.failed += 1,
        }
        self.last_end = self.last_end.max(Some(at));
    }
}

/// From a microsecond to a day, to three digits.
fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants, and valid ones")]
    Histogram::new_with_bounds(1, 86_400_000_000, 3).expect("valid bounds")
}

fn span(from: Option<Instant>, to: Option<Instant>) -> Duration {
    match (from, to) {
        (Some(from), Some(to)) => to.saturating_duration_since(from),
        (Some(_) | None, None) | (None, Some(_)) => Duration::ZERO,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Reads notes until `jobs` jobs have ended or were refused, or nothing happens for as long as `patience`.
pub(super) async fn collect(inbox: &mut UnboundedReceiver<Note>, jobs: u64, patience: Duration) -> Measured {
    let mut measured = Measured::new();
    let mut open: HashMap<u128, Instant> = HashMap::new();
    // An event may be here before the answer that says whose it is.
    let mut early: HashMap<u128, (Instant, End)> = HashMap::new();
    // Trouble is no progress: a server that is gone makes it for ever.
    let mut give_up = tokio::time::Instant::now() + patience;
    while measured.completed + measured.failed + measured.refused < jobs {
        let Ok(Some(note)) = tokio::time::timeout_at(give_up, inbox.recv()).await else { break };
        if !matches!(note, Note::Trouble(_)) {
            give_up = tokio::time::Instant::now() + patience;
        }
        match note {
            Note::Accepted { ids, started, answered } => {
                measured.first_start = Some(measured.first_start.map_or(started, |first| first.min(started)));
                measured.last_answer = measured.last_answer.max(Some(answered));
                measured.submit.saturating_record(micros(answered.saturating_duration_since(started)));
                measured.accepted += ids.len() as u64;
                for id in ids {
                    match early.remove(&id) {
                        Some((at, end)) => measured.end(started, at, end),
                        None => {
                            open.insert(id, started);
                        }
                    }
                }
            }
            Note::Refused { kind, jobs } => {
                measured.refused += jobs;
                *measured.errors.entry(kind).or_default() += jobs;
            }
            Note::Trouble(kind) => *measured.errors.entry(kind).or_default() += 1,
            Note::Ended { job, end, at } => match open.remove(&job) {
                Some(started) => measured.end(started, at, end),
                None => {
                    early.insert(job, (at, end));
                }
            },
        }
    }
    measured
}
