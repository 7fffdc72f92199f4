//! What was paid for, counted.

use serde::{Deserialize, Serialize};

use crate::job::Spent;
use crate::time::Day;

/// The paid calls of one tenant and one day to one model of one provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageTally {
    pub tenant: String,
    /// On which the calls were recorded.
    pub day: Day,
    pub provider: String,
    pub model: String,
    #[serde(flatten)]
    pub paid: Paid,
}

/// How much, over some calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    pub calls: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// In millionths of a US dollar.
    pub cost_micros: u64,
}

impl Paid {
    pub fn add(&mut self, more: Self) {
        self.calls = self.calls.saturating_add(more.calls);
        self.input_tokens = self.input_tokens.saturating_add(more.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(more.output_tokens);
        self.cost_micros = self.cost_micros.saturating_add(more.cost_micros);
    }

    /// What is left of it without `part`.
    pub fn without(self, part: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(part.calls),
            input_tokens: self.input_tokens.saturating_sub(part.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(part.output_tokens),
            cost_micros: self.cost_micros.saturating_sub(part.cost_micros),
        }
    }
}

impl From<&Spent> for Paid {
    fn from(spent: &Spent) -> Self {
        Self {
            calls: 1,
            input_tokens: spent.input_tokens,
            output_tokens: spent.output_tokens,
            cost_micros: spent.cost_micros,
        }
    }
}

/// Counts one call.
pub fn count(tallies: &mut Vec<UsageTally>, tenant: &str, day: Day, spent: &Spent) {
    let is_same = |tally: &&mut UsageTally| {
        (tally.tenant.as_str(), tally.day, &tally.provider, &tally.model)
            == (tenant, day, &spent.provider, &spent.model)
    };
    match tallies.iter_mut().find(is_same) {
        Some(tally) => tally.paid.add(spent.into()),
        None => tallies.push(UsageTally {
            tenant: tenant.to_owned(),
            day,
            provider: spent.provider.clone(),
            model: spent.model.clone(),
            paid: spent.into(),
        }),
    }
}
