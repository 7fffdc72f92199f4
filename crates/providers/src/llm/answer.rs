//! An answer while it comes in, and its bill.

use quillwork_app::ports::model::TokenUsage;

use super::piece::{End, Piece};
use super::price::{Price, estimated_tokens};
use crate::resilience::ProviderMetrics;

/// A longer answer is not read to its end.
pub(super) const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

/// Whoever counts more has counted wrong.
const MAX_TOKENS: u64 = 1_000_000_000;

/// Of names that a provider gives.
const MAX_NAME_CHARS: usize = 200;

/// Counts what was billed when it ends, however it ends.
pub(super) struct Answer<'a> {
    pub(super) text: String,
    pub(super) end: Option<End>,
    pub(super) is_last: bool,
    pub(super) model: Option<String>,
    pub(super) id: Option<String>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    has_begun: bool,
    bill: Bill<'a>,
}

/// Who is paid, and how much.
#[derive(Clone, Copy)]
pub(super) struct Bill<'a> {
    pub(super) endpoint: &'a str,
    pub(super) model: &'a str,
    pub(super) price: Option<Price>,
    pub(super) metrics: &'a ProviderMetrics,
    /// As estimated.
    pub(super) prompt_tokens: u64,
}

impl<'a> Answer<'a> {
    pub(super) fn new(bill: Bill<'a>) -> Self {
        Self {
            text: String::new(),
            end: None,
            is_last: false,
            model: None,
            id: None,
            input_tokens: None,
            output_tokens: None,
            has_begun: false,
            bill,
        }
    }

    pub(super) fn add(&mut self, piece: Piece) {
        self.has_begun |= piece.is_progress() || piece.input_tokens.is_some();
        self.text.push_str(&piece.text);
        self.end = piece.end.or(self.end);
        self.is_last |= piece.is_last;
        // The last word counts: some tell their counts several times.
        let credible = |n: &u64| *n <= MAX_TOKENS;
        self.input_tokens = piece.input_tokens.filter(credible).or(self.input_tokens);
        self.output_tokens = piece.output_tokens.filter(credible).or(self.output_tokens);
        self.model = self.model.take().or_else(|| piece.model.map(short));
        self.id = self.id.take().or_else(|| piece.id.map(short));
    }

    /// Whether tokens were used that someone has to pay.
    pub(super) fn is_billed(&self) -> bool {
        self.has_begun
    }

    pub(super) fn usage(&self) -> TokenUsage {
        TokenUsage {
            input: self.input_tokens.unwrap_or(self.bill.prompt_tokens),
            output: match (self.output_tokens, self.is_complete()) {
                (Some(output), true) => output,
                // What was counted before the cut is less than what was written.
                (counted, false) => counted.unwrap_or_default().max(self.estimated_output()),
                (None, true) => self.estimated_output(),
            },
            estimated: self.input_tokens.is_none() || self.output_tokens.is_none() || !self.is_complete(),
        }
    }

    pub(super) fn cost_micros(&self) -> u64 {
        self.bill.price.map_or(0, |price| price.cost_micros(self.usage()))
    }

    fn is_complete(&self) -> bool {
        self.end.is_some() || self.is_last
    }

    fn estimated_output(&self) -> u64 {
        estimated_tokens(self.text.chars().count())
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if self.has_begun {
            self.bill.metrics.billed(self.bill.endpoint, self.bill.model, self.usage(), self.cost_micros());
        }
    }
}

pub(super) fn short(name: String) -> String {
    name.chars().take(MAX_NAME_CHARS).collect()
}
