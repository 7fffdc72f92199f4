//! Private servers for tests: PostgreSQL, Redis and PgBouncer, each in a directory and on a loopback port of its own.
//! A server ends with the process that started it, however that ends. Linux only: the proof of ownership is in `/proc`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a harness fails a test by panicking")]

mod account;
mod guardian;
mod pgbouncer;
mod port;
mod postgres;
mod private;
mod programs;
mod psql;
mod redis;

pub use pgbouncer::PgBouncer;
pub use postgres::{Database, Postgres};
pub use redis::Redis;
