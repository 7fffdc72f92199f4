//! A cache in a file of its own beside the log, for what should outlive the process.
//!
//! One thread has the file. Everything here may be lost: what cannot be read is a miss, a damaged file is moved aside,
//! and the log says once that there is trouble and once that it is over.

mod entries;
mod file;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use quillwork_app::ports::cache::{Cache, CacheKey, Hit, MAX_TTL, is_storable};
use tokio::sync::{mpsc, oneshot};

use crate::sqlite::cache::file::CacheFile;

/// The file of the cache in its data directory.
pub const CACHE_FILE: &str = "cache.db";

/// Requests that may wait. Each may hold a large value.
const MAX_PENDING: usize = 16;

/// Nobody waits longer for a slow disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// For many values, in the background.
const RECENT_PATIENCE: Duration = Duration::from_secs(30);

/// Values in `cache.db`, bounded by their bytes: what was not used for longest is forgotten first.
pub struct SqliteCache {
    /// Gone once it is dropped.
    requests: Option<mpsc::Sender<Request>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Request {
    LookUp { key: CacheKey, answer: oneshot::Sender<Option<Hit>> },
    Put { key: CacheKey, value: Bytes, ttl: Duration },
    Remove { key: CacheKey },
    Recent { namespaces: Vec<&'static str>, max_bytes: u64, answer: oneshot::Sender<Vec<(CacheKey, Hit)>> },
}

impl SqliteCache {
    /// Holds about `max_bytes` at most, in a directory that this process owns. The file is opened with the first request.
    pub fn new(dir: &Path, max_bytes: u64) -> Self {
        let (requests, waiting) = mpsc::channel(MAX_PENDING);
        let file = CacheFile::new(dir.join(CACHE_FILE), max_bytes);
        let spawned = std::thread::Builder::new().name("cache".into()).spawn(move || serve(file, waiting));
        let thread = spawned
            .inspect_err(
                |error| tracing::warn!(%error, "cannot start the thread of the cache; nothing is kept"),
            )
            .ok();
        Self { requests: Some(requests), thread: Mutex::new(thread) }
    }

    /// Hands a request to the thread; it may be lost.
    async fn send(&self, request: Request) {
        if let Some(requests) = &self.requests {
            let _ = requests.send_timeout(request, PATIENCE).await;
        }
    }

    async fn ask<T>(&self, request: Request, answer: oneshot::Receiver<T>, patience: Duration) -> Option<T> {
        self.send(request).await;
        tokio::time::timeout(patience, answer).await.ok()?.ok()
    }
}

impl Drop for SqliteCache {
    fn drop(&mut self) {
        self.requests = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there has been reported there.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Cache for SqliteCache {
    async fn look_up(&self, key: &CacheKey) -> Option<Hit> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::LookUp { key: *key, answer }, answered, PATIENCE).await?
    }

    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration) {
        if is_storable(&value, ttl) {
            self.send(Request::Put { key: *key, value, ttl: ttl.min(MAX_TTL) }).await;
        } else {
            self.remove(key).await;
        }
    }

    async fn remove(&self, key: &CacheKey) {
        self.send(Request::Remove { key: *key }).await;
    }

    async fn recent(&self, namespaces: &[&'static str], max_bytes: u64) -> Vec<(CacheKey, Hit)> {
        let (answer, answered) = oneshot::channel();
        let namespaces = namespaces.to_vec();
        let request = Request::Recent { namespaces, max_bytes, answer };
        self.ask(request, answered, RECENT_PATIENCE).await.unwrap_or_default()
    }
}

/// Until nobody asks any more.
fn serve(mut file: CacheFile, mut waiting: mpsc::Receiver<Request>) {
    while let Some(request) = waiting.blocking_recv() {
        let now = now();
        // Whoever asked may have gone.
        match request {
            Request::LookUp { key, answer } => {
                let _ = answer.send(file.work(|entries| entries.look_up(&key, now)).flatten());
            }
            Request::Put { key, value, ttl } => {
                file.work(|entries| entries.put(&key, &value, now, ttl));
            }
            Request::Remove { key } => {
                file.work(|entries| entries.remove(&key));
            }
            Request::Recent { namespaces, max_bytes, answer } => {
                let recent = file.work(|entries| entries.recent(&namespaces, max_bytes, now));
                let _ = answer.send(recent.unwrap_or_default());
            }
        }
    }
}

/// Milliseconds since 1970 by the clock of this machine.
fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
