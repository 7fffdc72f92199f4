//! Language models, and what they cost.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::secret::{Key, shown};
use crate::config::settings::some_positive;
use crate::config::{Frequency, Settings, Span};

/// One model behind one address. Jobs are written by whichever of them is best at the moment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ModelSettings {
    /// How it is spoken to; absent for `openai`, which most servers understand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dialect: Option<Dialect>,
    /// The base address, such as `http://127.0.0.1:8080/v1`; absent for that of OpenAI or Anthropic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The name that the provider has for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// Absent for a server that wants none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    #[schemars(with = "String")]
    pub(crate) key: Option<Key>,
    /// How often it is chosen, against the others; absent for 1, and 0 for only when no other can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<u32>,
    /// Calls at once in this process; absent for 5.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_positive")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) concurrency: Option<u32>,
    /// Calls per time in all processes that share a Redis; absent for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Frequency")]
    pub(crate) rate: Option<Frequency>,
    /// How many may be made at once after a rest.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_positive")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) burst: Option<u32>,
    /// Tokens of prompt and answer together that it has room for; absent if not known.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_positive")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) context_tokens: Option<u32>,
    /// The member of a request that limits the answer; absent for `max_tokens`. Newer models of OpenAI want
    /// `max_completion_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_tokens_field: Option<String>,
    /// Absent for true; some models refuse any temperature but their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) send_temperature: Option<bool>,
    /// Until the answer begins; absent for a minute, in which a local server may load its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Span")]
    pub(crate) first_token_timeout: Option<Span>,
    /// Between two pieces of an answer; absent for half a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Span")]
    pub(crate) idle_timeout: Option<Span>,
}

/// How a model is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    #[default]
    OpenAi,
    Anthropic,
}

/// What models cost.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PriceSettings {
    /// Recorded with every cost; change it when you change a price.
    pub(crate) version: String,
    /// By the name that the provider has for the model.
    pub(crate) models: BTreeMap<String, Price>,
}

/// In US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    #[serde(deserialize_with = "price")]
    pub(crate) input: f64,
    #[serde(deserialize_with = "price")]
    pub(crate) output: f64,
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let dollars = f64::deserialize(deserializer)?;
    if (0.0..=1_000_000.0).contains(&dollars) {
        Ok(dollars)
    } else {
        Err(D::Error::custom(format!("expected US dollars per million tokens, 0 to 1000000, got {dollars}")))
    }
}

impl Price {
    /// In millionths of a dollar per million tokens.
    pub(crate) fn micros(dollars: f64) -> u64 {
        // At most 10^12, as checked.
        (dollars * 1_000_000.0).round() as u64
    }
}

impl ModelSettings {
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect.unwrap_or_default()
    }

    /// The base address.
    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or(match self.dialect() {
            Dialect::OpenAi => "https://api.openai.com/v1",
            Dialect::Anthropic => "https://api.anthropic.com/v1",
        })
    }
}

impl Settings {
    /// The models that have no price, by name.
    pub(crate) fn unpriced_models(&self) -> Vec<String> {
        let is_priced = |name: &str, model: &ModelSettings| {
            let model = model.model.as_deref().unwrap_or_default();
            let prices = &self.prices.models;
            prices.contains_key(&format!("{name}/{model}")) || prices.contains_key(model)
        };
        let unpriced = self.models.iter().filter(|(name, model)| !is_priced(name, model));
        unpriced.map(|(name, _)| name.clone()).collect()
    }

    /// Checks what shows only when all layers are together; an error names the key.
    pub(super) fn check_models(&self) -> Result<(), (String, String)> {
        for (name, model) in &self.models {
            let wrong = |member: &str, reason: String| Err((format!("models.{name}.{member}"), reason));
            if model.model.as_ref().is_none_or(String::is_empty) {
                return wrong("model", "expected the name that the provider has for the model".to_owned());
            }
            if !["http://", "https://"].iter().any(|scheme| model.url().starts_with(scheme)) {
                return wrong("url", "expected an http or https address".to_owned());
            }
            if let Err((member, reason)) = Frequency::rate(model.rate, model.burst) {
                return wrong(member, reason);
            }
        }
        let unpriced = self.unpriced_models();
        if self.budgets.are_set() && !unpriced.is_empty() {
            let reason = format!(
                "budgets are set, and cannot count what {} cost: give a price, 0 for what is free",
                unpriced.join(", ")
            );
            return Err(("prices.models".to_owned(), reason));
        }
        if self.prices.version.is_empty() && !self.prices.models.is_empty() {
            let reason = "expected a name for this table, such as its date: it is recorded with every cost";
            return Err(("prices.version".to_owned(), reason.to_owned()));
        }
        Ok(())
    }
}
