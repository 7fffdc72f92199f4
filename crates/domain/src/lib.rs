//! The pure core of Quillwork.
//!
//! Nothing here performs I/O, reads a clock or draws a random number: time, jitter and identity arrive as data on
//! commands. [`job`], [`queue`] and [`content`] decide and fold, [`wire`] is the only place that serializes events, [`chain`] makes the log
//! tamper-evident.

pub mod archive;
pub mod chain;
pub mod content;
pub mod envelope;
pub mod export;
pub mod id;
pub mod job;
pub mod money;
pub mod payload;
pub mod plan;
pub mod queue;
pub mod time;
pub mod usage;
pub mod wire;
