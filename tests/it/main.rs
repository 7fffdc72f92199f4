//! One binary for all black-box tests.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod architecture;
mod article;
mod chaos;
mod cli;
mod crash;
mod engine;
mod kill;
mod outage;
mod queues;
mod retention;
mod service;
mod start_rate;
