//! The HTTP API: the contract that clients rely on, and nothing that decides.
//!
//! [`router()`] is the one list of routes. A handler reads a request, asks the engine, the read models or the log, and
//! writes an answer; everything that can go wrong becomes a [`problem::Problem`]. `/openapi.json` is made from the
//! handlers themselves.

mod accept;
mod body;
mod content;
mod context;
mod docs;
mod duration;
mod health;
mod history;
mod jobs;
mod log;
mod metrics;
mod money;
mod params;
mod pipelines;
pub mod problem;
mod queues;
mod router;
mod schema;
mod serve;
mod sse;
mod state;
mod stats;
mod submission;
mod tenant;
mod usage;
mod view;

#[cfg(test)]
mod tests;

pub use metrics::HttpMetrics;
pub use router::{openapi, ops_router, router};
pub use serve::serve;
pub use state::{ApiState, Limits, Ops, Resources};
