//! The process edge: one file per port, each a trait, its data and its error.
//!
//! Adapters live in `quillwork-store` and `quillwork-providers`.
//! They know a protocol or a dialect and decide nothing.

pub mod cache;
pub mod call;
pub mod fetch;
pub mod model;
pub mod provider;
pub mod rate_limiter;
pub mod remote;
pub mod search;
pub mod spending;
pub mod store;
pub mod writer;
