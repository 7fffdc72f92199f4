//! The worker: apalis runs the stages that the engine has started.
//!
//! One apalis worker per stage handler is the bulkhead. [`backend`] feeds it, [`runner`] turns what happens in a stage
//! into a report to the engine, and [`stages`] holds the stages themselves. A stage does I/O and returns data; it
//! holds no store and cannot append.

pub mod backend;
pub mod context;
mod purse;
pub mod runner;
pub mod stage;
pub mod stages;
pub mod start;
pub mod start_rate;
