//! `usage`: what tenants paid providers for, by day and model.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use quillwork_app::ports::spending::{Spending, SpendingUnknown, Spendings};
use quillwork_domain::archive::ArchivedJob;
use quillwork_domain::job::{Event, StepRecorded};
use quillwork_domain::time::Day;
use quillwork_domain::usage::{Paid, UsageTally};

use crate::job_summary::JobSummary;
use crate::projector::chain;
use crate::read_models::ReadModels;
use quillwork_app::ports::store::Entry;

/// Tenant, day, provider and model.
pub(crate) type UsageKey = (String, Day, String, String);

/// How a batch of events adds to what was paid for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsageDelta(pub(crate) BTreeMap<UsageKey, Paid>);

impl UsageDelta {
    /// Counts one event of a job.
    pub(crate) fn count(&mut self, entry: &Entry) {
        if let Event::StepRecorded(StepRecorded { spent: Some(spent), .. }) = &entry.event {
            let (tenant, day) = (entry.recorded.meta.tenant.as_ref(), entry.recorded.recorded_at.day());
            let key = (tenant.to_owned(), day, spent.provider.clone(), spent.model.clone());
            self.0.entry(key).or_default().add(spent.into());
        }
    }

    /// Counts a job that left the log. What `before` has of it is counted already; the rest of its events may have left
    /// before anybody counted them.
    pub(crate) fn archive(&mut self, before: Option<&JobSummary>, job: &ArchivedJob) {
        for tally in &job.usage {
            let counted = before.and_then(|before| before.paid.iter().find(|known| is_same(known, tally)));
            let left = tally.paid.without(counted.map(|counted| counted.paid).unwrap_or_default());
            if left != Paid::default() {
                let UsageTally { tenant, day, provider, model, .. } = tally.clone();
                self.0.entry((tenant, day, provider, model)).or_default().add(left);
            }
        }
    }
}

fn is_same(one: &UsageTally, other: &UsageTally) -> bool {
    (&one.tenant, one.day, &one.provider, &one.model)
        == (&other.tenant, other.day, &other.provider, &other.model)
}

/// What to add up. What is None does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageFilter {
    pub tenant: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
    /// This day and later ones.
    pub from: Option<Day>,
    /// This day and earlier ones.
    pub to: Option<Day>,
}

/// What stands in one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageGroup {
    /// One tenant's use of one model on one day.
    #[default]
    Each,
    Day,
    /// One model of one provider.
    Model,
    Tenant,
}

impl UsageGroup {
    /// Those that have a name.
    pub const NAMED: [(&'static str, Self); 3] =
        [("day", Self::Day), ("model", Self::Model), ("tenant", Self::Tenant)];

    /// The columns that tell the rows apart, in the order of the rows.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Each => &["day", "tenant", "provider", "model"],
            Self::Day => &["day"],
            Self::Model => &["provider", "model"],
            Self::Tenant => &["tenant"],
        }
    }
}

/// Tells a row from the others of its group; what the group adds up over is None.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsagePlace {
    pub day: Option<Day>,
    pub tenant: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
}

/// What was paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    pub place: UsagePlace,
    pub paid: Paid,
}

/// A page of rows, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsagePage {
    pub items: Vec<UsageRow>,
    /// After which the next page begins; None at the end.
    pub next: Option<UsagePlace>,
}

impl UsageFilter {
    /// The first and the last day.
    pub(crate) fn days(&self) -> (i64, i64) {
        let day = |day: Option<Day>, or: i64| day.map_or(or, |day| i64::from(day.number()));
        (day(self.from, 0), day(self.to, i64::from(i32::MAX)))
    }
}

impl UsagePlace {
    /// As it is compared with: before all rows if it is no place.
    pub(crate) fn day_number(&self) -> i64 {
        self.day.map_or(-1, |day| i64::from(day.number()))
    }
}

/// The query of a page. Its parameters, named by `mark` as the database does: tenant, provider, model, first and last
/// day, the place after which it begins (day, tenant, provider, model), and how many rows. Its columns: those of a place,
/// NULL where the group adds up, and the four sums.
pub(crate) fn select(table: impl fmt::Display, group: UsageGroup, mark: impl Fn(usize) -> String) -> String {
    let columns = group.columns();
    let place = ["day", "tenant", "provider", "model"];
    let shown: Vec<String> = place
        .iter()
        .map(|name| {
            let kind = if *name == "day" { "integer" } else { "text" };
            if columns.contains(name) { (*name).to_owned() } else { format!("CAST(NULL AS {kind})") }
        })
        .collect();
    let after: Vec<String> = (6..)
        .zip(place)
        .filter(|(_, name)| columns.contains(name))
        .map(|(parameter, _)| mark(parameter))
        .collect();
    let filters: Vec<String> = (1..)
        .zip(["tenant", "provider", "model"])
        .map(|(parameter, name)| {
            let mark = mark(parameter);
            format!("({mark} IS NULL OR {name} = {mark})")
        })
        .collect();
    let sums = ["calls", "input_tokens", "output_tokens", "cost_micros"];
    let sums: Vec<String> = sums.iter().map(|name| format!("CAST(sum({name}) AS bigint)")).collect();
    let (columns, shown, after) = (columns.join(", "), shown.join(", "), after.join(", "));
    let (filters, sums) = (filters.join(" AND "), sums.join(", "));
    let (from, to, limit) = (mark(4), mark(5), mark(10));
    format!(
        "SELECT {shown}, {sums} FROM {table}
         WHERE {filters} AND day BETWEEN {from} AND {to} AND ({columns}) > ({after})
         GROUP BY {columns} ORDER BY {columns} LIMIT {limit}"
    )
}

#[async_trait]
impl Spending for ReadModels {
    async fn spent(&self, tenant: &str, day: Day) -> Result<Spendings, SpendingUnknown> {
        self.spendings(tenant, day).await.map_err(|error| SpendingUnknown(chain(&error)))
    }
}
