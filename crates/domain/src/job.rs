//! The job: a decider in plain functions.
//!
//! ```text
//! decide(&Job, Command) -> Result<Vec<Event>, Rejection>     what happens
//! evolve(Job, &Event)   -> Job                               what is so afterwards
//! react(&Job, &Event)   -> the TaskChanges                    what the queue must do about it
//! ```
//!
//! One stream per job. A repeated or stale command yields no events; a wrong one yields a [`Rejection`].

mod budget;
mod command;
mod decide;
mod event;
mod evolve;
mod failure;
mod react;
mod rejection;
mod rounds;
mod state;
mod topic;

pub use command::Command;
pub use decide::{MAX_STEPS, decide};
pub use event::{
    Budget, BudgetSet, Event, JobCancelled, JobCompleted, JobFailed, JobPaused, JobResumed, JobRetried,
    JobSubmitted, PauseReason, Rework, Spent, StageCompleted, StageFailed, StageStarted, StagesReopened,
    StepRecorded, Usage,
};
pub use evolve::evolve;
pub use failure::{ErrorClass, JobError};
pub use react::{TaskChange, react};
pub use rejection::Rejection;
pub use rounds::MAX_ROUNDS;
pub use state::{Job, Phase, StagePhase, StageState, Status, Step};
pub use topic::{WrongTopic, check_topic};

#[cfg(test)]
mod tests;
