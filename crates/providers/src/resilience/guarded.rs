//! Ports behind a guard.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::{Fetch, Fetched};
use quillwork_app::ports::provider::{Progress, ProviderError};
use quillwork_app::ports::search::{Findings, Query, Search};
use url::Url;

use super::Guard;

/// A search provider behind its guard.
pub struct GuardedSearch {
    inner: Arc<dyn Search>,
    guard: Guard,
}

impl GuardedSearch {
    pub fn new(inner: Arc<dyn Search>, guard: Guard) -> Self {
        Self { inner, guard }
    }
}

#[async_trait]
impl Search for GuardedSearch {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn search(
        &self,
        query: &Query,
        call: &Call,
        progress: &dyn Progress,
    ) -> Result<Findings, ProviderError> {
        self.guard.call(call, || self.inner.search(query, call, progress)).await
    }
}

/// The web behind its guard.
///
/// The slots and the rate are those of all pages together. Failures and wishes for patience are those of the page's host
/// alone: no host can close the web for the others, nor take all slots by being slow.
pub struct GuardedFetch {
    inner: Arc<dyn Fetch>,
    guard: Guard,
}

impl GuardedFetch {
    pub fn new(inner: Arc<dyn Fetch>, guard: Guard) -> Self {
        Self { inner, guard }
    }
}

#[async_trait]
impl Fetch for GuardedFetch {
    async fn fetch(&self, url: &str, call: &Call) -> Result<Fetched, ProviderError> {
        // What is no address is refused by the fetcher, with the reason.
        let address = Url::parse(url).ok();
        let host = address.as_ref().and_then(Url::host_str).unwrap_or_default();
        self.guard.call_host(host, call, || self.inner.fetch(url, call)).await
    }
}
