//! A world outside that counts what it is asked, and answers when a test lets it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quillwork_app::ports::cache::{Cache, CacheKey, Hit};
use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::{Fetch, Fetched, Page};
use quillwork_app::ports::provider::{Progress, ProviderError};
use quillwork_app::ports::search::{Findings, Location, Query, Search, Source};
use tokio::sync::Semaphore;

/// Each answer is another one.
#[derive(Clone)]
pub(super) struct Outside(Arc<State>);

struct State {
    calls: AtomicU32,
    failures: AtomicU32,
    /// One permit per call that has come.
    entered: Semaphore,
    /// One permit per call that may go.
    gate: Semaphore,
}

impl Default for Outside {
    fn default() -> Self {
        Self::new(0, Semaphore::MAX_PERMITS)
    }
}

impl Outside {
    fn new(failures: u32, permits: usize) -> Self {
        Self(Arc::new(State {
            calls: AtomicU32::new(0),
            failures: AtomicU32::new(failures),
            entered: Semaphore::new(0),
            gate: Semaphore::new(permits),
        }))
    }

    /// Fails that often before it answers.
    pub(super) fn failing(failures: u32) -> Self {
        Self::new(failures, Semaphore::MAX_PERMITS)
    }

    /// Answers nothing before it is let, and fails that often then.
    pub(super) fn gated(failures: u32) -> Self {
        Self::new(failures, 0)
    }

    pub(super) fn calls(&self) -> u32 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Waits until it was asked once more.
    pub(super) async fn entered(&self) {
        let entered = tokio::time::timeout(super::PATIENCE, self.0.entered.acquire()).await;
        entered.expect("nobody asks").unwrap().forget();
    }

    /// Lets so many calls go.
    pub(super) fn let_go(&self, n: usize) {
        self.0.gate.add_permits(n);
    }

    /// The number of the call.
    pub(super) async fn called(&self) -> Result<u32, ProviderError> {
        let number = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.entered.add_permits(1);
        let let_go = tokio::time::timeout(super::PATIENCE, self.0.gate.acquire()).await;
        let_go.expect("nobody lets it go").unwrap().forget();
        let failures = &self.0.failures;
        match failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(ProviderError::transient("not today")),
            Err(_) => Ok(number),
        }
    }
}

#[async_trait]
impl Search for Outside {
    fn name(&self) -> &str {
        "outside"
    }

    async fn search(&self, query: &Query, _: &Call, _: &dyn Progress) -> Result<Findings, ProviderError> {
        let n = self.called().await?;
        let source = Source {
            n: 1,
            title: format!("answer {n} to {}", query.topic),
            location: Location::Url("https://a.example/".into()),
            passages: Vec::new(),
            found_by: vec!["outside".into()],
            sha256: None,
        };
        let sources = if query.topic == "nothing" { Vec::new() } else { vec![source] };
        Ok(Findings { sources, ..Findings::default() })
    }
}

#[async_trait]
impl Fetch for Outside {
    async fn fetch(&self, url: &str, _: &Call) -> Result<Fetched, ProviderError> {
        let n = self.called().await?;
        Ok(if url.ends_with("nothing") {
            Fetched::Skipped(format!("{url} is not there"))
        } else {
            Fetched::Page(Box::new(Page {
                url: url.into(),
                title: format!("answer {n}"),
                passages: Vec::new(),
                links: Vec::new(),
                sha256: String::new(),
                language: None,
            }))
        })
    }
}

/// Keeps nothing, and knows what it was given.
#[derive(Default)]
pub(super) struct Recorded(Mutex<Vec<(&'static str, Duration)>>);

impl Recorded {
    pub(super) fn put(&self) -> Vec<(&'static str, Duration)> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Cache for Recorded {
    async fn look_up(&self, _: &CacheKey) -> Option<Hit> {
        None
    }

    async fn put(&self, key: &CacheKey, _: Bytes, ttl: Duration) {
        self.0.lock().unwrap().push((key.namespace(), ttl));
    }

    async fn remove(&self, _: &CacheKey) {}
}
