//! Putting together what clients and event stream report, in memory that does not grow with the load.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use super::early::Early;
use super::schedule::{Punctuality, Start};

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Note {
    /// The server took jobs, of so many that it was asked to take.
    Accepted { ids: Vec<u128>, of: u64, start: Start, answered: Instant },
    /// The server showed a job.
    Shown { start: Start, answered: Instant },
    /// The server will not do it.
    Refused { kind: String, n_items: u64 },
    /// Something failed and is tried again.
    Trouble(String),
    /// Jobs ended, ours or not.
    Ended { ends: Vec<(u128, End)>, at: Instant },
}

/// What was measured. Latencies in microseconds.
pub(super) struct Measured {
    pub(super) accepted: u64,
    pub(super) shown: u64,
    pub(super) refused: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    /// From the start of a request to its answer.
    pub(super) requests: Histogram<u64>,
    /// From the start of a request to the end of its jobs.
    pub(super) end_to_end: Histogram<u64>,
    /// How late our own timer was for requests that did not have to wait for the server.
    pub(super) timer_late: Histogram<u64>,
    /// Requests for which no connection was free when they were due.
    pub(super) overdue: u64,
    pub(super) errors: BTreeMap<String, u64>,
    first_start: Option<Instant>,
    last_answer: Option<Instant>,
    last_end: Option<Instant>,
}

impl Measured {
    pub(super) fn new() -> Self {
        Self {
            accepted: 0,
            shown: 0,
            refused: 0,
            completed: 0,
            failed: 0,
            requests: histogram(),
            end_to_end: histogram(),
            timer_late: histogram(),
            overdue: 0,
            errors: BTreeMap::new(),
            first_start: None,
            last_answer: None,
            last_end: None,
        }
    }

    /// Jobs that ended, queries that were answered, and what was refused.
    pub(super) fn done(&self) -> u64 {
        self.completed + self.failed + self.refused + self.shown
    }

    /// From the first start to the last answer.
    pub(super) fn answering(&self) -> Duration {
        span(self.first_start, self.last_answer)
    }

    /// From the first start to the last end.
    pub(super) fn total(&self) -> Duration {
        span(self.first_start, self.last_end)
    }

    fn answer(&mut self, start: Start, answered: Instant) {
        self.first_start = Some(self.first_start.map_or(start.at, |first| first.min(start.at)));
        self.last_answer = self.last_answer.max(Some(answered));
        self.requests.saturating_record(micros(answered.saturating_duration_since(start.at)));
        match start.punctuality {
            Punctuality::Unscheduled => {}
            Punctuality::Timer(late) => self.timer_late.saturating_record(micros(late)),
            Punctuality::Overdue => self.overdue += 1,
        }
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

    fn refuse(&mut self, kind: String, n_items: u64) {
        self.refused += n_items;
        *self.errors.entry(kind).or_default() += n_items;
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

/// Reads notes until `n_items` jobs or queries are done, or nothing happens for as long as `patience`. At most
/// `n_in_flight` jobs can be in requests that wait for their answer.
///
/// Kept are the starts of jobs that the server has taken and not ended, of which it takes no more than
/// `limits.max_backlog`; all else is counters.
pub(super) async fn collect(
    inbox: &mut Receiver<Note>,
    n_items: u64,
    n_in_flight: usize,
    patience: Duration,
) -> Measured {
    let mut measured = Measured::new();
    let mut open: HashMap<u128, Instant> = HashMap::new();
    let mut early = Early::new(n_in_flight);
    // Neither trouble nor what others' jobs do is progress.
    let mut give_up = Instant::now() + patience;
    while measured.done() < n_items {
        let Ok(Some(note)) = tokio::time::timeout_at(give_up, inbox.recv()).await else { break };
        let before = (measured.accepted, measured.done());
        match note {
            Note::Accepted { ids, of, start, answered } => {
                measured.answer(start, answered);
                let n_accepted = ids.len() as u64;
                measured.accepted += n_accepted;
                if n_accepted < of {
                    measured.refuse("refused in batch".into(), of - n_accepted);
                }
                for id in ids {
                    match early.take(id) {
                        Some((end, at)) => measured.end(start.at, at, end),
                        None => {
                            open.insert(id, start.at);
                        }
                    }
                }
            }
            Note::Shown { start, answered } => {
                measured.shown += 1;
                measured.answer(start, answered);
            }
            Note::Refused { kind, n_items } => measured.refuse(kind, n_items),
            Note::Trouble(kind) => *measured.errors.entry(kind).or_default() += 1,
            Note::Ended { ends, at } => {
                for (job, end) in ends {
                    match open.remove(&job) {
                        Some(started) => measured.end(started, at, end),
                        None => early.put(job, end, at),
                    }
                }
            }
        }
        if (measured.accepted, measured.done()) != before {
            give_up = Instant::now() + patience;
        }
    }
    measured
}
