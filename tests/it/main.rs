//! One binary for all black-box tests.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts for the tests that ask; two additions per allocation for the others.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

mod architecture;
mod article;
mod bench;
mod chaos;
mod cli;
mod content;
mod counts;
mod crash;
mod engine;
mod first_start;
mod http_stage;
mod kill;
mod money;
mod outage;
mod outside;
mod own_stage;
mod quality;
mod queues;
mod retention;
mod service;
mod several;
mod start_rate;
