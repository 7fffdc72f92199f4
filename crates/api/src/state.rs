//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use quillwork_app::catalog::Catalog;
use quillwork_app::engine::Engine;
use quillwork_app::ports::store::LogReader;
use quillwork_projections::ReadModels;
use tokio_util::sync::CancellationToken;

use crate::metrics::HttpMetrics;

/// Everything a handler may use. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub engine: Engine,
    pub models: ReadModels,
    pub reader: Arc<dyn LogReader>,
    pub catalog: Arc<Catalog>,
    /// Registered with `registry`.
    pub metrics: HttpMetrics,
    /// What `/metrics` shows beside the read models; other parts of the process may register here too.
    pub registry: Arc<Registry>,
    pub limits: Limits,
    /// Cancelled first when the process ends: `/readyz` says 503, everything else still works.
    pub draining: CancellationToken,
    /// Cancelled when the process wants its connections back: streams and long polls end.
    pub shutdown: CancellationToken,
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
