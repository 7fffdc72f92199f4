//! The engine: the only writer of events in a process.
//!
//! Commands come in over bounded queues. The engine takes what is there, decides each against the state of its job,
//! and commits all of it at once: events, queue changes, blobs and keys. A batch forms while the commit before it
//! runs; there is no timer. After the commit it answers the callers, hands started stages to the workers and the batch
//! to the feed.

mod admission;
mod archive;
mod batch;
mod cache;
mod content;
mod contention;
mod fill;
mod gate;
mod glance;
mod handle;
mod hints;
mod housekeeping;
mod intake;
mod load;
mod plan_batch;
mod queue;
mod reports;
mod run;
mod slots;
mod start;
mod supply;
mod turn;
mod work;

pub use content::Noted;
pub use handle::{Accepted, Caller, Controlled, Engine, Refusal, Submission};
pub use start::{EngineConfig, EngineGone, EngineThread, StartError, start};
pub use work::{FinishedStep, Funds, Outcome, PackedOutput, RecordedStep, StageRun, WorkerPort};
