//! The read side: what clients see, folded from the log.
//!
//! Each read model is a file with its row and its pure fold: [`job_summary`], [`job_timeline`], [`queues`], [`stats`],
//! [`usage`], [`content_analytics`].
//! [`changes`] runs them over a batch of events, so that many events of a job become one written row. [`Projector`]
//! keeps the tables up to date, [`ReadModels`] answers queries, and [`rebuild()`] makes the tables anew.
//! Rows and checkpoint are one transaction, and no event is ever skipped.
//!
//! The tables are in an SQLite file or in PostgreSQL. On PostgreSQL several processes may have a projector: one has the
//! turn, the others stand by, and processes without one follow what it writes.

mod backend;
pub mod changes;
pub mod content_analytics;
mod follow;
mod job_group;
mod job_row;
pub mod job_summary;
pub mod job_timeline;
mod open;
mod postgres;
pub mod projector;
pub mod queues;
pub mod read_models;
pub mod rebuild;
mod sqlite;
pub mod stats;
mod tables;
pub mod usage;

pub use content_analytics::{ContentAnalytics, ContentPage, ContentPlace, ContentSort};
pub use job_group::{GroupStage, StageState};
pub use job_summary::{JobFilter, JobPage, JobSummary};
pub use job_timeline::{TimelineEntry, TimelineOutcome};
pub use postgres::PgReadConfig;
pub use projector::{Projector, ProjectorError};
pub use queues::QueueRow;
pub use read_models::{Health, ReadModelError, ReadModels};
pub use rebuild::{Rebuilt, rebuild, rebuild_postgres};
pub use stats::Stats;
pub use usage::{UsageFilter, UsageGroup, UsagePage, UsagePlace, UsageRow};

#[cfg(test)]
mod tests;
