//! Pages that were read before.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::address::canonical;
use quillwork_app::ports::cache::CacheKey;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::{Fetch, Fetched};
use quillwork_app::ports::provider::ProviderError;

use crate::cache::answers::{Answers, Question};

/// A new shape of [`Fetched`] needs a new version, and so does a better extraction of prose.
pub(super) const NAMESPACE: &str = "page.v1";

/// Fetches only what was not read lately.
pub struct CachedFetch {
    inner: Arc<dyn Fetch>,
    scope: String,
    answers: Arc<Answers>,
}

impl CachedFetch {
    /// `scope` is what decides the answer besides the address: the limits, and which hosts are allowed.
    pub fn new(inner: Arc<dyn Fetch>, scope: String, answers: Arc<Answers>) -> Self {
        Self { inner, scope, answers }
    }
}

#[async_trait]
impl Fetch for CachedFetch {
    async fn fetch(&self, url: &str, call: &Call) -> Result<Fetched, ProviderError> {
        // What has no canonical form is refused by whoever fetches, with the reason.
        let Some(page) = canonical(url) else { return self.inner.fetch(url, call).await };
        let key = CacheKey::new(NAMESPACE, &[self.scope.as_bytes(), page.as_bytes()]);
        let ttls = self.answers.ttls();
        let ttl = |fetched: &Fetched| match fetched {
            Fetched::Page(_) => Some(ttls.page),
            Fetched::Skipped(_) => Some(ttls.negative),
        };
        let question = Question { kind: "page", key };
        let asked = self.inner.fetch(url, call);
        Ok(self.answers.get(question, call, ttl, asked).await?.into_inner())
    }
}
