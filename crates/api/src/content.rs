//! `/v1/content`: what readers do with articles. An article is known by the job that wrote it.

pub(crate) mod analytics;
pub(crate) mod list;
pub(crate) mod ratings;
pub(crate) mod views;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use quillwork_app::engine::{Engine, Noted};
use quillwork_app::views::Views;
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::time::Timestamp;
use quillwork_projections::{ContentAnalytics, JobSummary};
use serde::Serialize;

use crate::jobs::result::finished;
use crate::jobs::show::find;
use crate::problem::Problem;
use crate::state::ApiState;

/// Articles that are known to be there, at most.
const KNOWN: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The articles that readers look at, as far as this process remembers them.
pub(crate) struct Articles {
    pub(crate) views: Views,
    /// With the tenants of their jobs. What is completed stays so.
    known: Mutex<LruCache<JobId, Arc<str>>>,
}

impl Articles {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { views: Views::new(engine), known: Mutex::new(LruCache::new(KNOWN)) }
    }

    fn known(&self) -> MutexGuard<'_, LruCache<JobId, Arc<str>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tenant whose article it is; a problem if there is none. Costs a query the first time.
async fn tenant_of(state: &ApiState, id: JobId) -> Result<Arc<str>, Problem> {
    if let Some(tenant) = state.articles().known().get(&id) {
        return Ok(tenant.clone());
    }
    let tenant: Arc<str> = completed(state, id).await?.tenant.into();
    state.articles().known().put(id, tenant.clone());
    Ok(tenant)
}

/// The job that wrote an article, which only a completed one has.
async fn completed(state: &ApiState, id: JobId) -> Result<JobSummary, Problem> {
    let job = find(state, id).await?.ok_or_else(|| Problem::unknown_job(id))?;
    finished(&job).map(|()| job)
}

/// What a command did.
#[derive(Debug, Serialize)]
pub(crate) struct NotedView {
    id: JobId,
    /// Of the event, which may have views of others, too.
    position: Position,
}

impl NotedView {
    pub(crate) fn new(id: JobId, noted: Noted) -> Self {
        Self { id, position: noted.position }
    }
}

/// What is known of an article.
#[derive(Debug, Serialize)]
pub(crate) struct ContentView {
    id: JobId,
    views: u64,
    ratings: u64,
    average_rating: Option<f64>,
    seo_score: Option<f64>,
    updated_at: Timestamp,
}

impl From<ContentAnalytics> for ContentView {
    fn from(content: ContentAnalytics) -> Self {
        Self {
            id: content.id,
            views: content.views,
            ratings: content.ratings,
            average_rating: content.average_rating(),
            seo_score: content.seo_score,
            updated_at: content.updated_at,
        }
    }
}
