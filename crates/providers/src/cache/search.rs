//! Searches that were made before.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::ports::cache::CacheKey;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::{Progress, ProviderError};
use quillwork_app::ports::search::{Findings, Query, Search};

use crate::cache::answers::{Answers, Question, normalised};

/// A new shape of [`Findings`] needs a new version.
pub(super) const NAMESPACE: &str = "search.v1";

/// Searches only what was not searched lately. Not for a corpus: a folder changes, and is near.
pub struct CachedSearch {
    inner: Arc<dyn Search>,
    scope: String,
    answers: Arc<Answers>,
}

impl CachedSearch {
    /// `scope` is what decides the answer besides the query and the provider's name: its address, its language.
    pub fn new(inner: Arc<dyn Search>, scope: String, answers: Arc<Answers>) -> Self {
        Self { inner, scope, answers }
    }
}

#[async_trait]
impl Search for CachedSearch {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn search(
        &self,
        query: &Query,
        call: &Call,
        progress: &dyn Progress,
    ) -> Result<Findings, ProviderError> {
        let topic = normalised(&query.topic);
        let parts: [&[u8]; 5] = [
            self.inner.name().as_bytes(),
            self.scope.as_bytes(),
            topic.as_bytes(),
            &(query.max_sources as u64).to_le_bytes(),
            &(query.max_passages as u64).to_le_bytes(),
        ];
        let question = Question { kind: "search", key: CacheKey::new(NAMESPACE, &parts) };
        let ttls = self.answers.ttls();
        let ttl =
            |findings: &Findings| Some(if findings.sources.is_empty() { ttls.negative } else { ttls.search });
        let asked = self.inner.search(query, call, progress);
        Ok(self.answers.get(question, call, ttl, asked).await?.into_inner())
    }
}
