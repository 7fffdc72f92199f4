//! What tenants have spent: asked before money is.

use async_trait::async_trait;
use quillwork_domain::id::Position;
use quillwork_domain::time::Day;

/// Knows what was paid, as far as somebody has counted it.
#[async_trait]
pub trait Spending: Send + Sync + 'static {
    /// What `tenant` has spent on `day`.
    async fn spent(&self, tenant: &str, day: Day) -> Result<Spendings, SpendingUnknown>;
}

/// What a tenant has spent in a day, and how far the log was counted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spendings {
    /// In millionths of a US dollar.
    pub cost_micros: u64,
    pub position: Position,
}

/// Nobody can tell for now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SpendingUnknown(pub String);
