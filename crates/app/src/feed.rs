//! How everyone but the engine learns of events: a bounded window of recent batches, and the log behind it.
//!
//! A subscriber keeps a position and asks for what comes after it. What is still in the window costs nothing; what is
//! older is read from the log, which is also how a slow subscriber catches up. Positions have no gap but where jobs were
//! archived, so any other hole is an alarm and not a thing to skip.

mod own;

use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use quillwork_domain::archive::cover;
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::job::{Event, PauseReason};
use quillwork_domain::wire::{self, DecodeError};
use tokio::sync::{Notify, watch};

use crate::feed::own::OwnEvents;
use crate::ports::store::{Entry, LogReader, StoreError};

/// Recent events kept in memory; a subscriber further behind reads the log.
const WINDOW_EVENTS: usize = 2_048;

/// Events of other processes that are read at once to see whom they concern.
const WAKE_PAGE: usize = 1_024;

/// After more events of other processes than this everyone who watches is woken, without looking whom they concern.
const WAKE_EVENTS: u64 = 16_384;

/// Holes that are read at once.
const RUNS: usize = 256;

/// Recent event bytes kept in memory.
const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// Why a subscriber cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("event {position} cannot be read")]
    Undecodable { position: Position, source: DecodeError },
    #[error("the log has a hole: expected event {expected}, found {found}")]
    Hole { expected: Position, found: Position },
}

/// Cheap to clone; one per process.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    reader: Arc<dyn LogReader>,
    head: watch::Sender<Position>,
    window: Mutex<Window>,
    own: Mutex<OwnEvents>,
    commits: AtomicU64,
    /// In the order of [`PauseReason::ALL`].
    pauses: [AtomicU64; PauseReason::ALL.len()],
    watched: Mutex<HashMap<JobId, Weak<Notify>>>,
}

#[derive(Default)]
struct Window {
    batches: VecDeque<Arc<Vec<Entry>>>,
    events: usize,
    bytes: usize,
}

/// Events in order, at least one unless the log had no more.
pub struct Page {
    entries: Arc<Vec<Entry>>,
    from: usize,
}

impl Deref for Page {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.entries[self.from..]
    }
}

impl Feed {
    /// A feed that knows the log up to `head`.
    pub fn new(reader: Arc<dyn LogReader>, head: Position) -> Self {
        let shared = Shared {
            reader,
            head: watch::Sender::new(head),
            window: Mutex::default(),
            own: Mutex::default(),
            commits: AtomicU64::default(),
            pauses: Default::default(),
            watched: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Where to read what the window does not hold.
    pub fn reader(&self) -> &Arc<dyn LogReader> {
        &self.shared.reader
    }

    /// The position of the last event that this process knows of.
    pub fn head(&self) -> Position {
        *self.shared.head.borrow()
    }

    /// How many commits of events this process has made.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// How often this process has paused a job for this reason.
    pub fn pauses(&self, reason: PauseReason) -> u64 {
        let counts = PauseReason::ALL.iter().zip(&self.shared.pauses);
        counts.filter(|(counted, _)| **counted == reason).map(|(_, n)| n.load(Ordering::Relaxed)).sum()
    }

    /// Waits until there is an event after `position`; returns the head.
    pub async fn wait_past(&self, position: Position) -> Position {
        let mut head = self.shared.head.subscribe();
        // The sender lives as long as `self`.
        head.wait_for(|head| *head > position).await.map_or(position, |head| *head)
    }

    /// Up to about `limit` events after `position`, without waiting.
    pub async fn after(&self, position: Position, limit: usize) -> Result<Page, FeedError> {
        if let Some(page) = self.recent(position) {
            return Ok(page);
        }
        // No more is asked for than is known to be there: a store may find few events in another way than many.
        let limit = match self.head().0.saturating_sub(position.0) {
            0 => limit,
            known => limit.min(usize::try_from(known).unwrap_or(limit)),
        };
        let mut expected = position.next();
        let mut entries = Vec::new();
        for recorded in self.shared.reader.read_all(position, limit).await? {
            if recorded.position != expected && !self.is_archived(expected, recorded.position).await? {
                return Err(FeedError::Hole { expected, found: recorded.position });
            }
            expected = recorded.position.next();
            let event = wire::decode(&recorded)
                .map_err(|source| FeedError::Undecodable { position: recorded.position, source })?;
            entries.push(Entry { recorded, event });
        }
        Ok(Page { entries: Arc::new(entries), from: 0 })
    }

    /// True if everything from `first` up to the event `found` left the log.
    async fn is_archived(&self, first: Position, found: Position) -> Result<bool, StoreError> {
        let mut next = first;
        while next < found {
            let runs = self.shared.reader.archived_runs(Position(next.0 - 1), RUNS).await?;
            let Some(end) = runs.last().map(|run| run.last.next().min(found)) else { return Ok(false) };
            if end <= next || !cover(&runs, next, Position(end.0 - 1)) {
                return Ok(false);
            }
            next = end;
        }
        Ok(next == found)
    }

    /// Events after `position` that are still in memory; None if the log must be asked.
    pub fn recent(&self, position: Position) -> Option<Page> {
        let window = self.shared.window.lock().unwrap_or_else(PoisonError::into_inner);
        let next = position.next();
        let first = window.batches.front()?.first()?.recorded.position;
        if next < first {
            return None;
        }
        let index = window
            .batches
            .partition_point(|batch| batch.last().is_none_or(|entry| entry.recorded.position < next));
        let entries = window.batches.get(index)?.clone();
        let from = entries.partition_point(|entry| entry.recorded.position < next);
        Some(Page { entries, from })
    }

    /// Makes a committed batch known. The engine calls this, once per commit and in order.
    pub(crate) fn publish(&self, entries: Vec<Entry>) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let head = last.recorded.position;
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        for entry in &entries {
            let Event::JobPaused(paused) = &entry.event else { continue };
            let counts = PauseReason::ALL.iter().zip(&self.shared.pauses);
            counts.filter(|(reason, _)| **reason == paused.reason).for_each(|(_, n)| {
                n.fetch_add(1, Ordering::Relaxed);
            });
        }
        self.shared.own.lock().unwrap_or_else(PoisonError::into_inner).add(first.recorded.position, head);
        let entries = Arc::new(entries);
        {
            let mut window = self.shared.window.lock().unwrap_or_else(PoisonError::into_inner);
            // Events of other processes stand between: the window has no gap.
            let end = window.batches.back().and_then(|batch| batch.last());
            if end.is_some_and(|end| {
                entries.first().is_some_and(|first| end.recorded.position.next() != first.recorded.position)
            }) {
                *window = Window::default();
            }
            window.events += entries.len();
            window.bytes += entries.iter().map(size).sum::<usize>();
            window.batches.push_back(entries.clone());
            while window.events > WINDOW_EVENTS || window.bytes > WINDOW_BYTES {
                let Some(oldest) = window.batches.pop_front() else { break };
                window.events -= oldest.len();
                window.bytes -= oldest.iter().map(size).sum::<usize>();
            }
        }
        self.advance(head);
        self.wake_watchers(&entries);
    }

    /// Makes known that the log has grown to `head`. Subscribers find in the log what did not pass through here.
    pub(crate) fn advance(&self, head: Position) {
        self.shared.head.send_if_modified(|known| {
            let behind = *known < head;
            *known = head.max(*known);
            behind
        });
    }

    /// Makes known that the log has grown to `head`, nobody knows by whose events.
    pub(crate) fn skip_to(&self, head: Position) {
        self.advance(head);
        self.wake_all();
    }

    /// The runs of events after `after` and up to `head` that other processes wrote. To be asked once for each event.
    pub(crate) fn of_others(&self, after: Position, head: Position) -> Vec<(Position, Position)> {
        self.shared.own.lock().unwrap_or_else(PoisonError::into_inner).others(after, head)
    }

    /// Wakes whoever watches a job that has an event in one of these runs.
    pub(crate) async fn wake_for(&self, runs: &[(Position, Position)]) {
        let n_events: u64 = runs.iter().map(|(after, last)| last.0.saturating_sub(after.0)).sum();
        if n_events > WAKE_EVENTS {
            return self.wake_all();
        }
        for (mut position, last) in runs.iter().copied() {
            while position < last && !self.watched().is_empty() {
                let n_missing = usize::try_from(last.0 - position.0).unwrap_or(WAKE_PAGE);
                // What cannot be read here is for the watchers to find out.
                let Ok(page) = self.after(position, n_missing.min(WAKE_PAGE)).await else {
                    return self.wake_all();
                };
                let Some(reached) = page.last() else { return self.wake_all() };
                position = reached.recorded.position;
                self.wake_watchers(&page);
            }
        }
    }

    fn wake_all(&self) {
        self.watched().values().filter_map(Weak::upgrade).for_each(|notify| notify.notify_waiters());
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<JobId, Weak<Notify>>> {
        self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_watchers(&self, entries: &[Entry]) {
        let mut watched = self.watched();
        if watched.is_empty() {
            return;
        }
        for job in entries.iter().filter_map(|entry| entry.recorded.stream.job()) {
            if let Some(notify) = watched.get(&job) {
                match notify.upgrade() {
                    Some(notify) => notify.notify_waiters(),
                    None => {
                        watched.remove(&job);
                    }
                }
            }
        }
    }

    /// Watches one job. Costs the engine nothing while the job is quiet, however many watch.
    pub fn watch(&self, job: JobId) -> JobWatch {
        let mut watched = self.watched();
        let notify = watched.get(&job).and_then(Weak::upgrade).unwrap_or_else(|| {
            let notify = Arc::new(Notify::new());
            watched.insert(job, Arc::downgrade(&notify));
            notify
        });
        drop(watched);
        JobWatch { feed: self.clone(), job, notify }
    }
}

fn size(entry: &Entry) -> usize {
    entry.recorded.data.len() + 512
}

/// A registered interest in one job; dropping it ends the interest.
pub struct JobWatch {
    feed: Feed,
    job: JobId,
    notify: Arc<Notify>,
}

impl JobWatch {
    /// Resolves when the job has a new event after this call.
    ///
    /// Create the future, then look at the job, then await: so that nothing in between is missed.
    pub fn changed(&self) -> impl Future<Output = ()> + '_ {
        let notified = self.notify.notified();
        async move {
            notified.await;
        }
    }
}

impl Drop for JobWatch {
    fn drop(&mut self) {
        let mut watched = self.feed.watched();
        // The last watcher takes the entry along.
        if Arc::strong_count(&self.notify) == 1 {
            watched.remove(&self.job);
        }
    }
}
