//! The pure core: deciding, folding, the stored form and the chain.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod history;
mod job;
mod log;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, job::decides, job::folds, log::encodes, log::decodes, log::links, log::verifies);
criterion_main!(benches);
