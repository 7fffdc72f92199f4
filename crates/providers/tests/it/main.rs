//! The adapters against real files and a real Redis: one binary, one module per subject.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what the tests share asserts by panicking, too"
)]

mod cache;
mod cached;
mod digest;
mod draft_relay;
mod fetch;
mod formats;
mod index;
mod library;
mod llm;
mod log;
mod no_certificates;
mod properties;
mod rate_limiter;
mod redis_away;
mod relevance;
mod resilience;
mod web_search;
