//! How everyone but the engine learns of events: a bounded window of recent batches, and the log behind it.
//!
//! A subscriber keeps a position and asks for what comes after it. What is still in the window costs nothing; what is
//! older is read from the log, which is also how a slow subscriber catches up. Positions have no gap, so a hole is an
//! alarm and not a thing to skip.

use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use quillwork_domain::id::{JobId, Position};
use quillwork_domain::wire::{self, DecodeError};
use tokio::sync::{Notify, watch};

use crate::ports::store::{Entry, LogReader, StoreError};

/// Recent events kept in memory; a subscriber further behind reads the log.
const WINDOW_EVENTS: usize = 2_048;

/// Recent event bytes kept in memory.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

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
        let mut expected = position.next();
        let mut entries = Vec::new();
        for recorded in self.shared.reader.read_all(position, limit).await? {
            if recorded.position != expected {
                return Err(FeedError::Hole { expected, found: recorded.position });
            }
            expected = expected.next();
            let event = wire::decode(&recorded)
                .map_err(|source| FeedError::Undecodable { position: recorded.position, source })?;
            entries.push(Entry { recorded, event });
        }
        Ok(Page { entries: Arc::new(entries), from: 0 })
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
        let Some(last) = entries.last() else { return };
        let head = last.recorded.position;
        let entries = Arc::new(entries);
        {
            let mut window = self.shared.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.events += entries.len();
            window.bytes += entries.iter().map(size).sum::<usize>();
            window.batches.push_back(entries.clone());
            while window.events > WINDOW_EVENTS || window.bytes > WINDOW_BYTES {
                let Some(oldest) = window.batches.pop_front() else { break };
                window.events -= oldest.len();
                window.bytes -= oldest.iter().map(size).sum::<usize>();
            }
        }
        self.shared.head.send_replace(head);
        self.wake_watchers(&entries);
    }

    /// Makes known that the log has grown to `head` by events that did not pass through here. Subscribers find them
    /// in the log.
    pub(crate) fn skip_to(&self, head: Position) {
        *self.shared.window.lock().unwrap_or_else(PoisonError::into_inner) = Window::default();
        self.shared.head.send_replace(head);
        let watched = self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.values().filter_map(Weak::upgrade).for_each(|notify| notify.notify_waiters());
    }

    fn wake_watchers(&self, entries: &[Entry]) {
        let mut watched = self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.is_empty() {
            return;
        }
        for entry in entries {
            if let Some(notify) = watched.get(&entry.recorded.job) {
                match notify.upgrade() {
                    Some(notify) => notify.notify_waiters(),
                    None => {
                        watched.remove(&entry.recorded.job);
                    }
                }
            }
        }
    }

    /// Watches one job. Costs the engine nothing while the job is quiet, however many watch.
    pub fn watch(&self, job: JobId) -> JobWatch {
        let mut watched = self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut watched = self.feed.shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // The last watcher takes the entry along.
        if Arc::strong_count(&self.notify) == 1 {
            watched.remove(&self.job);
        }
    }
}
