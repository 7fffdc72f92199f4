//! The servers that other tests trust, each asked for what it promises.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guardian;
mod pgbouncer;
mod postgres;
mod psql;
mod redis;
