//! What was paid for, by day, tenant and model.

use quillwork_app::ports::spending::{Spending, Spendings};
use quillwork_domain::id::Position;
use quillwork_domain::time::Day;
use quillwork_domain::usage::Paid;

use super::history::{History, Step, job_id};
use super::place::{Place, in_every_place};
use crate::read_models::ReadModels;
use crate::usage::{UsageFilter, UsageGroup, UsagePlace};

in_every_place!(
    calls_are_added_up_by_group_and_page,
    a_tenants_day_is_told_with_its_position,
    what_was_paid_for_archived_jobs_still_counts,
);

/// Two jobs of the tenant `default` and one of `other`, with two calls each.
fn history() -> History {
    let mut history = History::default();
    for job in [1, 2, 4] {
        for step in [Step::Submit { run_at: None, labels: false }, Step::Start, Step::Record, Step::Record] {
            history.step(job_id(job), step);
        }
    }
    history
}

/// The rows, page by page, with their numbers of calls.
async fn rows(models: &ReadModels, filter: &UsageFilter, group: UsageGroup) -> Vec<(String, u64)> {
    let mut rows = Vec::new();
    let mut after = UsagePlace::default();
    loop {
        let page = models.usage(filter, group, after, 1).await.unwrap();
        for row in page.items {
            let Paid { calls, input_tokens, output_tokens, cost_micros } = row.paid;
            assert_eq!((input_tokens, output_tokens, cost_micros), (calls * 10, calls * 20, calls * 15));
            let UsagePlace { day, tenant, provider, model } = row.place;
            let names = [day.map(|day| day.to_string()), tenant, provider, model];
            rows.push((names.map(|name| name.unwrap_or_else(|| "*".to_owned())).join(" "), calls));
        }
        match page.next {
            Some(next) => after = next,
            None => return rows,
        }
    }
}

#[track_caller]
fn check(rows: Vec<(String, u64)>, expected: &[(&str, u64)]) {
    let rows: Vec<(&str, u64)> = rows.iter().map(|(name, calls)| (name.as_str(), *calls)).collect();
    assert_eq!(rows, expected);
}

async fn calls_are_added_up_by_group_and_page(place: Place) {
    let models = place.with(&history()).await;
    let all = UsageFilter::default();
    check(
        rows(&models, &all, UsageGroup::Each).await,
        &[
            ("1970-01-01 default main writer-0", 2),
            ("1970-01-01 default main writer-1", 2),
            ("1970-01-01 other main writer-0", 1),
            ("1970-01-01 other main writer-1", 1),
        ],
    );
    check(rows(&models, &all, UsageGroup::Tenant).await, &[("* default * *", 4), ("* other * *", 2)]);
    check(
        rows(&models, &all, UsageGroup::Model).await,
        &[("* * main writer-0", 3), ("* * main writer-1", 3)],
    );
    check(rows(&models, &all, UsageGroup::Day).await, &[("1970-01-01 * * *", 6)]);
    let other = UsageFilter { tenant: Some("other".to_owned()), ..UsageFilter::default() };
    check(rows(&models, &other, UsageGroup::Day).await, &[("1970-01-01 * * *", 2)]);
    let later = UsageFilter { from: Some(Day::from_number(1)), ..UsageFilter::default() };
    check(rows(&models, &later, UsageGroup::Day).await, &[]);
}

async fn a_tenants_day_is_told_with_its_position(place: Place) {
    let models = place.with(&history()).await;
    let spent = |cost_micros| Spendings { cost_micros, position: Position(12) };
    assert_eq!(models.spent("default", Day::from_number(0)).await.unwrap(), spent(60));
    assert_eq!(models.spent("other", Day::from_number(0)).await.unwrap(), spent(30));
    assert_eq!(models.spent("other", Day::from_number(1)).await.unwrap(), spent(0));
    assert_eq!(models.spent("nobody", Day::from_number(0)).await.unwrap(), spent(0));
}

async fn what_was_paid_for_archived_jobs_still_counts(place: Place) {
    let mut history = history();
    history.step(job_id(1), Step::Cancel);
    history.archive([job_id(1)]);
    let models = place.with(&history).await;
    let all = UsageFilter::default();
    check(rows(&models, &all, UsageGroup::Day).await, &[("1970-01-01 * * *", 6)]);
    drop(models);
    // Also for who sees only what is left of the log.
    place.rebuild(&history).await;
    let models = place.open(&history.log()).await;
    check(rows(&models, &all, UsageGroup::Day).await, &[("1970-01-01 * * *", 6)]);
}
