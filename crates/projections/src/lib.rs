//! The read side: what clients see, folded from the log.
//!
//! Each read model is a file with its row and its pure fold: [`job_summary`], [`job_timeline`], [`stats`].
//! [`changes`] runs them over a batch of events, so that many events of a job become one written row. [`Projector`]
//! keeps the tables up to date, [`ReadModels`] answers queries, and [`rebuild()`] makes the tables anew.
//! Rows and checkpoint are one transaction, and no event is ever skipped.

pub mod changes;
pub mod job_summary;
pub mod job_timeline;
pub mod projector;
pub mod read_models;
pub mod rebuild;
mod sqlite;
pub mod stats;

pub use job_summary::{JobFilter, JobPage, JobSummary};
pub use job_timeline::{TimelineEntry, TimelineOutcome};
pub use projector::{Projector, ProjectorError};
pub use read_models::{Health, ReadModelError, ReadModels};
pub use rebuild::{Rebuilt, rebuild};
pub use stats::Stats;

#[cfg(test)]
mod tests;
