//! Whether an attempt may spend money.

use std::sync::{Arc, Mutex, PoisonError};

use quillwork_app::budgets::{DayUsedUp, TenantBudgets};
use quillwork_app::clock;
use quillwork_app::engine::{Funds, RecordedStep};
use quillwork_domain::job::ErrorClass;
use quillwork_domain::money::Usd;

use crate::stage::StageError;

/// What is known of the money that an attempt may spend.
pub(crate) struct Purse {
    /// Of the job, when a step of this attempt was recorded last.
    funds: Mutex<Funds>,
    budgets: Option<Arc<TenantBudgets>>,
}

impl Purse {
    pub(crate) fn new(funds: Funds, budgets: Option<Arc<TenantBudgets>>) -> Self {
        Self { funds: Mutex::new(funds), budgets }
    }

    /// Fails if nothing may be spent any more.
    pub(crate) async fn may_spend(&self, tenant: &Arc<str>) -> Result<(), StageError> {
        let Funds { spent, budget } = *self.funds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budget.filter(|budget| spent >= *budget) {
            let (spent, budget) = (Usd(spent), Usd(budget));
            let message =
                format!("the job has spent {spent} of its budget of {budget} USD; raise the budget");
            return Err(StageError::new(ErrorClass::BudgetExhausted, message));
        }
        let Some(budgets) = &self.budgets else { return Ok(()) };
        match budgets.check(tenant, clock::now()).await {
            Ok(None) => Ok(()),
            Ok(Some(DayUsedUp { spent, budget, wait })) => {
                let message = format!(
                    "tenant {tenant:?} has spent {spent} of the {budget} USD that it may spend in a day; the job goes on tomorrow, or raise the budget and resume the job"
                );
                Err(StageError {
                    retry_after: Some(wait),
                    ..StageError::new(ErrorClass::BudgetExhausted, message)
                })
            }
            Err(error) => {
                let message = format!("cannot tell what tenant {tenant:?} has spent today: {error}");
                Err(StageError::new(ErrorClass::Transient, message))
            }
        }
    }

    /// Notes what was recorded.
    pub(crate) fn note(&self, tenant: &Arc<str>, recorded: RecordedStep, cost_micros: u64) {
        let mut funds = self.funds.lock().unwrap_or_else(PoisonError::into_inner);
        // Of steps side by side the older answer may come last.
        if recorded.funds.spent >= funds.spent {
            *funds = recorded.funds;
        }
        if let Some(budgets) = &self.budgets {
            budgets.note(tenant, clock::now(), recorded.position, cost_micros);
        }
    }
}
