//! What handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use prometheus_client::registry::Registry;
use quillwork_app::catalog::Catalog;
use quillwork_app::engine::Engine;
use quillwork_app::ports::store::LogReader;
use quillwork_projections::ReadModels;
use tokio_util::sync::CancellationToken;

use crate::content::Articles;
use crate::metrics::HttpMetrics;

/// Everything a handler may use. One pointer, because every layer of every request clones it.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

struct Shared {
    resources: Resources,
    articles: Articles,
}

impl From<Resources> for ApiState {
    fn from(resources: Resources) -> Self {
        let articles = Articles::new(resources.ops.engine.clone());
        Self(Arc::new(Shared { resources, articles }))
    }
}

impl Deref for ApiState {
    type Target = Resources;

    fn deref(&self) -> &Resources {
        &self.0.resources
    }
}

impl ApiState {
    /// The articles that readers look at.
    pub(crate) fn articles(&self) -> &Articles {
        &self.0.articles
    }
}

/// What an [`ApiState`] is made of.
pub struct Resources {
    pub models: ReadModels,
    pub catalog: Arc<Catalog>,
    /// Registered with the registry of `ops`.
    pub metrics: HttpMetrics,
    pub ops: Ops,
    pub limits: Limits,
}

/// What the routes for operators use, which a process without the API has too. Cheap to clone.
#[derive(Clone)]
pub struct Ops {
    pub engine: Engine,
    /// None in a process that has nothing to do with them.
    pub models: Option<ReadModels>,
    pub reader: Arc<dyn LogReader>,
    /// What `/metrics` shows beside the read models; other parts of the process may register here too.
    pub registry: Arc<Registry>,
    /// Cancelled first when the process ends: `/readyz` says 503, and every answer closes its connection, so that
    /// clients move to another process. Everything else still works.
    pub draining: CancellationToken,
    /// Cancelled when the process wants its connections back: streams and long polls end.
    pub shutdown: CancellationToken,
}

impl Ops {
    /// True once clients should go elsewhere.
    pub(crate) fn is_ending(&self) -> bool {
        self.draining.is_cancelled() || self.shutdown.is_cancelled()
    }
}

impl FromRef<ApiState> for Ops {
    fn from_ref(state: &ApiState) -> Self {
        state.ops.clone()
    }
}

/// How much a client may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Bytes of a batch's request body.
    pub batch_body_bytes: usize,
    /// Jobs in a batch.
    pub batch_jobs: usize,
    /// The longest `wait`.
    pub max_wait: Duration,
    /// How long a query waits for `min_position`.
    pub min_position_wait: Duration,
    /// How long a command waits for its commit before its outcome is given up as unknown.
    pub command_timeout: Duration,
    /// Connections that are served at once; more are turned away.
    pub max_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            batch_body_bytes: 16 * 1024 * 1024,
            batch_jobs: 1_000,
            max_wait: Duration::from_secs(60),
            min_position_wait: Duration::from_secs(5),
            command_timeout: Duration::from_secs(30),
            max_connections: 16_384,
        }
    }
}
