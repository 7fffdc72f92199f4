//! Auditing the log: recomputing its hash chain, checking its rules, and comparing what is derived from it.
//!
//! [`verify_store`] audits a data directory, [`verify_export`] a file that left it. Both stream: memory grows with the
//! number of jobs (some forty bytes for a completed one), never with the size of the log. What is wrong is data, a
//! [`Finding`]; an error means that the audit itself could not be done.
//!
//! [`derive_queue`] is how the queue and the idempotency keys follow from the log. A rebuild writes what it returns, and
//! the audit compares it with what is stored.

mod archive;
mod chain;
mod content;
mod export;
mod finding;
mod holes;
mod jobs;
mod log;
mod queue;
mod rules;
mod store;

pub use archive::{ArchiveAuditError, verify_archive};
pub use export::{ExportStart, verify_export};
pub use finding::{Finding, Report, Rule};
pub use holes::runs_between;
pub(crate) use queue::key_of;
pub use queue::{DeriveError, DerivedQueue, DerivedTask, derive_queue};
pub use store::{Scope, verify_store};

#[cfg(test)]
mod tests;
