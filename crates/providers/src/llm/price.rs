//! What tokens cost.

use std::collections::BTreeMap;

use quillwork_app::ports::model::TokenUsage;
use serde::{Deserialize, Serialize};

/// In millionths of a US dollar for a million tokens: 150000 is 15 cents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub input_micros_per_million: u64,
    pub output_micros_per_million: u64,
}

/// Prices by model, as the operator has copied them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceTable {
    /// Recorded with each cost; for example a date.
    pub version: String,
    /// By `<endpoint>/<model>`, or by the model alone, as it stands in the configuration.
    pub models: BTreeMap<String, Price>,
}

impl PriceTable {
    pub(super) fn price(&self, endpoint: &str, model: &str) -> Option<Price> {
        self.models.get(&format!("{endpoint}/{model}")).or_else(|| self.models.get(model)).copied()
    }
}

impl Price {
    /// In millionths of a US dollar, rounded up once for the whole call.
    pub fn cost_micros(self, usage: TokenUsage) -> u64 {
        let input = u128::from(usage.input) * u128::from(self.input_micros_per_million);
        let output = u128::from(usage.output) * u128::from(self.output_micros_per_million);
        u64::try_from(input.saturating_add(output).div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// For text that was not counted by a provider.
pub(super) fn estimated_tokens(chars: usize) -> u64 {
    // 3.6 characters a token, as English has on average.
    (chars as u64).saturating_mul(10).div_ceil(36)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_rounded_up() {
        let cases = [
            (150_000, 600_000, 1_000_000, 1_000_000, 750_000),
            (150_000, 600_000, 1, 0, 1),
            (150_000, 600_000, 6, 1, 2),
            (150_000, 600_000, 0, 0, 0),
            (0, 0, 1_000, 1_000, 0),
            (1_000_000, 1, 3, 0, 3),
            (u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX),
        ];
        for (input_price, output_price, input, output, expected) in cases {
            let price =
                Price { input_micros_per_million: input_price, output_micros_per_million: output_price };
            let usage = TokenUsage { input, output, estimated: false };
            assert_eq!(price.cost_micros(usage), expected, "{price:?} {usage:?}");
        }
    }

    #[test]
    fn the_price_at_an_endpoint_comes_before_that_of_the_model() {
        let price = |n| Price { input_micros_per_million: n, output_micros_per_million: n };
        let models = [("m".to_owned(), price(1)), ("groq/m".to_owned(), price(2))];
        let table = PriceTable { version: "1".into(), models: models.into() };
        assert_eq!(table.price("groq", "m"), Some(price(2)));
        assert_eq!(table.price("other", "m"), Some(price(1)));
        assert_eq!(table.price("other", "n"), None);
    }

    #[test]
    fn tokens_are_estimated() {
        assert_eq!([0, 1, 36, 37].map(estimated_tokens), [0, 1, 10, 11]);
    }
}
