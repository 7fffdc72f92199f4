//! What tenants may spend in a day, in UTC.
//!
//! Who has spent how much is asked at most once a second for each tenant, and what this process has recorded since is
//! added. What other processes spend in that second, and calls that are under way, can go over the budget.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quillwork_domain::id::Position;
use quillwork_domain::money::Usd;
use quillwork_domain::time::{Day, Timestamp};

use crate::ports::spending::{Spending, SpendingUnknown, Spendings};

/// An answer counts for so long.
const FRESH: Duration = Duration::from_secs(1);

/// Tenants that are remembered at once.
const MAX_TENANTS: usize = 1_024;

/// Calls of one tenant that are remembered one by one until they are counted elsewhere.
const MAX_CALLS: usize = 1_024;

/// The clocks of processes differ a little; a new day begins for us when it has begun for all.
const GRACE: Duration = Duration::from_secs(1);

/// What tenants may spend in a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayLimits {
    /// Of a tenant that is not named; None if it is not limited.
    pub default: Option<Usd>,
    pub by_tenant: BTreeMap<String, Usd>,
}

impl DayLimits {
    /// What `tenant` may spend in a day; None if that is not limited.
    pub fn of(&self, tenant: &str) -> Option<Usd> {
        self.by_tenant.get(tenant).copied().or(self.default)
    }

    /// True if nobody is limited.
    pub fn is_empty(&self) -> bool {
        self.default.is_none() && self.by_tenant.is_empty()
    }
}

/// Holds tenants to what they may spend in a day.
pub struct TenantBudgets {
    limits: DayLimits,
    spending: Arc<dyn Spending>,
    tenants: Mutex<HashMap<Arc<str>, Account>>,
}

/// What is known of a tenant's day.
struct Account {
    day: Day,
    /// As it was said, and when.
    said: Option<(Spendings, Instant)>,
    /// What this process recorded and nobody else has counted yet, in the order of the log.
    own: VecDeque<(Position, u64)>,
}

impl Account {
    fn of(day: Day) -> Self {
        Self { day, said: None, own: VecDeque::new() }
    }

    fn spent(&self, said: Spendings) -> u64 {
        self.own.iter().fold(said.cost_micros, |sum, (_, cost)| sum.saturating_add(*cost))
    }
}

/// The budget of a tenant's day is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayUsedUp {
    pub spent: Usd,
    pub budget: Usd,
    /// How long until the next day has begun.
    pub wait: Duration,
}

impl TenantBudgets {
    pub fn new(limits: DayLimits, spending: Arc<dyn Spending>) -> Self {
        Self { limits, spending, tenants: Mutex::default() }
    }

    /// Whether `tenant` may spend anything at `now`.
    pub async fn check(
        &self,
        tenant: &Arc<str>,
        now: Timestamp,
    ) -> Result<Option<DayUsedUp>, SpendingUnknown> {
        let Some(budget) = self.limits.of(tenant) else { return Ok(None) };
        let day = now.day();
        let spent = match self.known(tenant, day) {
            Some(spent) => spent,
            None => {
                let said = self.spending.spent(tenant, day).await?;
                self.hear(tenant, day, said)
            }
        };
        let wait = day.end().since(now) + GRACE;
        Ok((spent >= budget.0).then_some(DayUsedUp { spent: Usd(spent), budget, wait }))
    }

    /// Notes what this process recorded at `position` or before.
    pub fn note(&self, tenant: &Arc<str>, now: Timestamp, position: Position, cost_micros: u64) {
        if cost_micros == 0 || self.limits.of(tenant).is_none() {
            return;
        }
        self.with(tenant, now.day(), |account| {
            let is_full = account.own.len() >= MAX_CALLS;
            match account.own.back_mut().filter(|_| is_full) {
                // Until the last of them is counted elsewhere they all add up: too much for a while, never too little.
                Some(last) => *last = (position.max(last.0), last.1.saturating_add(cost_micros)),
                None => account.own.push_back((position, cost_micros)),
            }
        });
    }

    /// What the tenant has spent, if that was said a moment ago.
    fn known(&self, tenant: &Arc<str>, day: Day) -> Option<u64> {
        self.with(tenant, day, |account| {
            let (said, _) = account.said.filter(|(_, at)| at.elapsed() < FRESH)?;
            Some(account.spent(said))
        })
    }

    fn hear(&self, tenant: &Arc<str>, day: Day, said: Spendings) -> u64 {
        self.with(tenant, day, |account| {
            // Two may have asked, and the older answer come last.
            let said = match account.said {
                Some((newer, _)) if newer.position > said.position => newer,
                Some(_) | None => said,
            };
            account.own.retain(|(position, _)| *position > said.position);
            account.said = Some((said, Instant::now()));
            account.spent(said)
        })
    }

    fn with<T>(&self, tenant: &Arc<str>, day: Day, f: impl FnOnce(&mut Account) -> T) -> T {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(tenant) {
            // What is lost of the others is in the log and soon counted.
            tenants.retain(|_, account| account.said.is_some_and(|(_, at)| at.elapsed() < FRESH));
            if tenants.len() >= MAX_TENANTS {
                tenants.clear();
            }
        }
        let account = tenants.entry(tenant.clone()).or_insert_with(|| Account::of(day));
        if account.day != day {
            *account = Account::of(day);
        }
        f(account)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;

    use super::*;

    /// Says what it was told to say, and counts how often it is asked.
    #[derive(Default)]
    struct Said {
        answer: Mutex<Option<Spendings>>,
        n_asked: AtomicU32,
    }

    #[async_trait]
    impl Spending for Said {
        async fn spent(&self, _tenant: &str, _day: Day) -> Result<Spendings, SpendingUnknown> {
            self.n_asked.fetch_add(1, Ordering::Relaxed);
            self.answer.lock().unwrap().ok_or_else(|| SpendingUnknown("nobody knows".into()))
        }
    }

    fn say(said: &Said, cost_micros: u64, position: u64) {
        *said.answer.lock().unwrap() = Some(Spendings { cost_micros, position: Position(position) });
    }

    fn budgets(said: &Arc<Said>) -> TenantBudgets {
        let by_tenant = BTreeMap::from([("rich".to_owned(), Usd(1_000))]);
        TenantBudgets::new(DayLimits { default: Some(Usd(100)), by_tenant }, said.clone())
    }

    fn noon() -> Timestamp {
        "2026-01-31T12:00:00Z".parse().unwrap()
    }

    async fn spent(budgets: &TenantBudgets, tenant: &str, now: Timestamp) -> Option<u64> {
        let used_up = budgets.check(&tenant.into(), now).await.unwrap();
        used_up.map(|used_up| used_up.spent.0)
    }

    #[tokio::test]
    async fn what_this_process_recorded_is_added_until_it_is_counted() {
        let said = Arc::new(Said::default());
        say(&said, 40, 10);
        let budgets = budgets(&said);
        assert_eq!(spent(&budgets, "acme", noon()).await, None);
        budgets.note(&"acme".into(), noon(), Position(12), 35);
        assert_eq!(spent(&budgets, "acme", noon()).await, None);
        budgets.note(&"acme".into(), noon(), Position(14), 30);
        assert_eq!(spent(&budgets, "acme", noon()).await, Some(105));
        assert_eq!(said.n_asked.load(Ordering::Relaxed), 1, "asked again within a second");
        let counted = Spendings { cost_micros: 75, position: Position(12) };
        assert_eq!(budgets.hear(&"acme".into(), noon().day(), counted), 105);
        let older = Spendings { cost_micros: 40, position: Position(10) };
        assert_eq!(budgets.hear(&"acme".into(), noon().day(), older), 105);
    }

    #[tokio::test]
    async fn each_tenant_and_each_day_has_its_own() {
        let said = Arc::new(Said::default());
        say(&said, 100, 10);
        let budgets = budgets(&said);
        let used_up = budgets.check(&"acme".into(), noon()).await.unwrap().unwrap();
        assert_eq!(used_up.wait, Duration::from_secs(12 * 3_600) + GRACE);
        assert_eq!((used_up.spent, used_up.budget), (Usd(100), Usd(100)));
        assert_eq!(spent(&budgets, "rich", noon()).await, None);
        say(&said, 0, 20);
        assert_eq!(spent(&budgets, "acme", noon().plus(Duration::from_secs(12 * 3_600))).await, None);
    }

    #[tokio::test]
    async fn who_is_not_limited_is_not_asked_for_and_what_is_unknown_is_said() {
        let said = Arc::new(Said::default());
        let free = TenantBudgets::new(DayLimits::default(), said.clone());
        assert_eq!(free.check(&"acme".into(), noon()).await.unwrap(), None);
        assert_eq!(said.n_asked.load(Ordering::Relaxed), 0);
        assert!(budgets(&said).check(&"acme".into(), noon()).await.is_err());
    }

    #[tokio::test]
    async fn memory_is_bounded_and_forgets_no_money_of_a_tenant() {
        let said = Arc::new(Said::default());
        say(&said, 0, 10);
        let budgets = budgets(&said);
        for n in 0..2 * MAX_CALLS as u64 {
            budgets.note(&"rich".into(), noon(), Position(11 + n), 1);
        }
        assert_eq!(spent(&budgets, "rich", noon()).await, Some(2 * MAX_CALLS as u64));
        assert_eq!(budgets.tenants.lock().unwrap()["rich"].own.len(), MAX_CALLS);
        for n in 0..2 * MAX_TENANTS {
            budgets.note(&format!("tenant-{n}").into(), noon(), Position(11), 1);
        }
        assert!(budgets.tenants.lock().unwrap().len() <= MAX_TENANTS);
    }
}
