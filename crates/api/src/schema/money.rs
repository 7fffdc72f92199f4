//! Money as `/openapi.json` describes it.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// How much a job may cost.
#[derive(ToSchema)]
pub(crate) struct SetBudget {
    /// In US dollars, as a decimal with at most six digits behind the point, at most 1000000. A number is read as it is
    /// written.
    #[schema(example = "0.50")]
    max_cost_usd: String,
}

/// What a job has cost, and how much it may.
#[derive(ToSchema)]
pub(crate) struct Cost {
    /// A decimal.
    spent_usd: String,
    /// A decimal; null if it is not limited.
    budget_usd: Option<String>,
}

/// Tokens that providers were paid for.
#[derive(ToSchema)]
pub(crate) struct Usage {
    input_tokens: u64,
    output_tokens: u64,
}

/// Why a job waits for money.
#[derive(ToSchema)]
pub(crate) struct Pause {
    reason: PauseReason,
    /// The job goes on by itself then; absent if somebody must act.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// Which budget is used up.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum PauseReason {
    JobBudget,
    TenantBudget,
}

/// What a job has cost, call by call.
#[derive(ToSchema)]
pub(crate) struct JobCost {
    spent_usd: String,
    budget_usd: Option<String>,
    items: Vec<PaidCall>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CostQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// A call that was paid for.
#[derive(ToSchema)]
pub(crate) struct PaidCall {
    stage: String,
    step: String,
    attempt: u32,
    /// The name that the provider has in the configuration.
    provider: String,
    /// As the provider named it in its answer.
    model: String,
    input_tokens: u64,
    output_tokens: u64,
    /// A decimal.
    cost_usd: String,
    /// The version of the price table; null if the model has no price there.
    prices: Option<String>,
    position: u64,
    #[schema(format = DateTime)]
    recorded_at: String,
}

/// What was paid for. What a row adds up over is null.
#[derive(ToSchema)]
pub(crate) struct UsageRow {
    day: Option<String>,
    tenant: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// A decimal.
    cost_usd: String,
}

#[derive(ToSchema)]
pub(crate) struct UsagePage {
    items: Vec<UsageRow>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    #[param(min_length = 1, max_length = 64)]
    tenant: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    /// This day and later ones, such as `2026-01-31`.
    from: Option<String>,
    /// This day and earlier ones.
    to: Option<String>,
    /// `day`, `model` or `tenant`: one row for each.
    group: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Wait, for at most 5 s, until the answer shows this position.
    min_position: Option<u64>,
}
