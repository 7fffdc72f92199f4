//! The harness of the black-box tests.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a harness fails a test by panicking"
)]

pub mod counting;
pub mod faulty;
pub mod fleet;
pub mod invariants;
pub mod outside;
pub mod server;
pub mod stack;
pub mod unaware;
pub mod world;
