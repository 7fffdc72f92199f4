//! The rules that refuse a command, one variant each.

use crate::id::Attempt;
use crate::job::Status;
use crate::money::Usd;

/// Why a command was refused; the job is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such job")]
    NotFound,
    #[error("the job exists already, with other contents")]
    AlreadySubmitted,
    #[error("the job is {0} and cannot be cancelled")]
    NotCancellable(Status),
    #[error("the job is {0}; only a failed or cancelled job can be retried")]
    NotRetryable(Status),
    #[error("the job is {0}; only a paused job can be resumed")]
    NotResumable(Status),
    #[error("the job has spent {spent} of its budget of {budget} USD; raise the budget and it goes on")]
    BudgetUsedUp { spent: Usd, budget: Usd },
    #[error("the job is {0} and spends nothing; only an open job can be given a budget")]
    NoBudgetNeeded(Status),
    #[error("no stage of the job waits to be started")]
    NothingToStart,
    #[error("attempt {0} of that stage was never started")]
    UnknownAttempt(Attempt),
    #[error("the job has recorded {0} steps in this stage, the most it may")]
    TooManySteps(usize),
}
