//! Budgets on a real store: jobs that run out of money wait for more, and pay for nothing twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use quillwork_app::budgets::{DayLimits, TenantBudgets};
use quillwork_app::engine::Refusal;
use quillwork_app::ports::spending::{Spending, SpendingUnknown, Spendings};
use quillwork_domain::id::Position;
use quillwork_domain::job::{Budget, Event, Job, JobSubmitted, PauseReason, Phase, Rejection};
use quillwork_domain::money::Usd;
use quillwork_domain::time::Day;
use quillwork_tests::stack::{Deed, Ground, Handlers, Stack, caller, job};

quillwork_tests::on_every_store!(
    a_job_without_money_waits_and_pays_for_nothing_twice,
    a_paused_job_survives_a_restart_and_can_be_cancelled,
    a_tenant_without_money_waits_for_the_next_day,
);

/// One slot for stages that pay, and one for others.
fn handlers(n_calls: usize, n_made: &Arc<AtomicUsize>) -> Handlers {
    let n_made = n_made.clone();
    Handlers::default()
        .with("pays", 1, move |_| Deed::Pay { n_calls, cost_micros: 40, n_made: n_made.clone() })
        .with("echo", 1, |_| Deed::Return("done"))
}

fn with_budget(handlers: &[&str], max_cost_micros: u64) -> JobSubmitted {
    JobSubmitted { budget: Some(Budget { max_cost_micros }), ..job(handlers) }
}

async fn a_job_without_money_waits_and_pays_for_nothing_twice(ground: Ground) {
    let n_made = Arc::default();
    let stack = Stack::start(&ground, handlers(4, &n_made)).await;
    let id = stack.submit(with_budget(&["pays", "echo"], 100)).await.unwrap().job;
    let paused = stack.job_when(id, Job::is_paused).await;
    // The third call went over the budget, and was the last.
    assert_eq!((paused.spent, n_made.load(Ordering::SeqCst)), (120, 3));
    assert_eq!((paused.stages[0].failures, stack.engine.feed().pauses(PauseReason::JobBudget)), (0, 1));
    assert_eq!(stack.kinds(id).await[5..], ["StageFailed budget_exhausted", "JobPaused"]);
    // It holds no slot: another job of the same handler runs.
    let other = stack.submit(with_budget(&["pays"], 1_000)).await.unwrap().job;
    assert_eq!(stack.ended(other).await.phase, Phase::Completed);
    assert_eq!(n_made.load(Ordering::SeqCst), 7);

    let refused = stack.engine.resume(caller(), id).await.unwrap_err();
    let used_up = Rejection::BudgetUsedUp { spent: Usd(120), budget: Usd(100) };
    assert_eq!(refused, Refusal::Rejected(used_up));
    stack.engine.set_budget(caller(), id, 110).await.unwrap();
    assert!(stack.job(id).await.is_paused(), "less than is spent already");
    stack.engine.set_budget(caller(), id, 130).await.unwrap();
    let ended = stack.ended(id).await;
    assert_eq!((ended.phase, ended.spent), (Phase::Completed, 160));
    assert_eq!(n_made.load(Ordering::SeqCst), 8, "each call is paid for once");
    let kinds = stack.kinds(id).await;
    assert_eq!(kinds[7..10], ["BudgetSet", "BudgetSet", "JobResumed"]);
    assert!(stack.reader.tasks(None, 10).await.unwrap().is_empty());
    stack.stop().await;
}

async fn a_paused_job_survives_a_restart_and_can_be_cancelled(ground: Ground) {
    let n_made = Arc::default();
    let stack = Stack::start(&ground, handlers(4, &n_made)).await;
    let id = stack.submit(with_budget(&["pays"], 40)).await.unwrap().job;
    let other = stack.submit(with_budget(&["pays"], 40)).await.unwrap().job;
    stack.job_when(id, Job::is_paused).await;
    stack.job_when(other, Job::is_paused).await;
    stack.stop().await;

    let stack = Stack::start(&ground, handlers(4, &n_made)).await;
    stack.engine.set_budget(caller(), id, 1_000).await.unwrap();
    assert_eq!(stack.ended(id).await.phase, Phase::Completed);
    assert_eq!(n_made.load(Ordering::SeqCst), 5);
    stack.engine.cancel(caller(), other, None).await.unwrap();
    assert_eq!(stack.ended(other).await.phase, Phase::Cancelled);
    assert!(stack.reader.tasks(None, 10).await.unwrap().is_empty());
    stack.stop().await;
}

/// Nobody counts what is spent but the process itself.
struct Uncounted;

#[async_trait]
impl Spending for Uncounted {
    async fn spent(&self, _tenant: &str, _day: Day) -> Result<Spendings, SpendingUnknown> {
        Ok(Spendings { cost_micros: 0, position: Position::START })
    }
}

async fn a_tenant_without_money_waits_for_the_next_day(ground: Ground) {
    let n_made = Arc::default();
    let limits = |micros| DayLimits { default: Some(Usd(micros)), ..DayLimits::default() };
    let budgets = TenantBudgets::new(limits(100), Arc::new(Uncounted));
    let stack = Stack::start_on_a_budget(&ground, handlers(2, &n_made), budgets).await;
    let first = stack.submit(job(&["pays"])).await.unwrap().job;
    assert_eq!(stack.ended(first).await.phase, Phase::Completed);
    // It shares what is left of the day.
    let second = stack.submit(job(&["pays"])).await.unwrap().job;
    stack.job_when(second, Job::is_paused).await;
    assert_eq!(n_made.load(Ordering::SeqCst), 3);
    let history = stack.history(second).await;
    let Some(Event::JobPaused(paused)) = history.last() else { panic!("{history:#?}") };
    assert_eq!(paused.reason, PauseReason::TenantBudget);
    assert!(paused.until.is_some(), "it goes on by itself");
    // Nothing has changed: it is paused again.
    stack.engine.resume(caller(), second).await.unwrap();
    let n_pauses = |job: &Job| job.is_paused() && job.stages[0].attempt.0 == 2;
    stack.job_when(second, n_pauses).await;
    assert_eq!(n_made.load(Ordering::SeqCst), 3);
    stack.stop().await;

    let budgets = TenantBudgets::new(limits(1_000), Arc::new(Uncounted));
    let stack = Stack::start_on_a_budget(&ground, handlers(2, &n_made), budgets).await;
    stack.engine.resume(caller(), second).await.unwrap();
    assert_eq!(stack.ended(second).await.phase, Phase::Completed);
    assert_eq!(n_made.load(Ordering::SeqCst), 4);
    stack.stop().await;
}
