//! `settings.generation`

use quillwork_app::ports::call::CacheUse;
use serde::Deserialize;

use crate::stages::within;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::stages) struct Settings {
    /// About this many words at most, 50 to 20,000.
    pub(super) max_words: usize,
    /// Who writes.
    pub(super) method: Method,
    /// The prompt that models are asked with.
    pub(super) prompt: String,
    /// If no model writes an article that passes its checks, take quoted sentences, and say so in the article.
    pub(super) fallback: bool,
    /// Characters of sources that a model is given at most, 500 to 1,000,000.
    pub(super) max_source_chars: usize,
    /// Absent for what `max_words` needs.
    pub(super) max_output_tokens: Option<u32>,
    /// 0 to 2.
    pub(super) temperature: f32,
    /// Whether answers from before will do.
    pub(super) cache: CacheUse,
}

/// Who writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    /// A model if any is configured, else quoted sentences.
    #[default]
    Auto,
    Model,
    Extractive,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_words: 800,
            method: Method::Auto,
            prompt: super::prompt::DEFAULT.to_owned(),
            fallback: false,
            max_source_chars: 40_000,
            max_output_tokens: None,
            temperature: 0.3,
            cache: CacheUse::Use,
        }
    }
}

impl Settings {
    /// Checks what types do not; `prompts` and `has_model` are what the configuration has.
    pub(in crate::stages) fn check(&self, prompts: &[String], has_model: bool) -> Result<(), String> {
        for (name, value, range) in [
            ("max_words", self.max_words, 50..=20_000),
            ("max_source_chars", self.max_source_chars, 500..=1_000_000),
            ("max_output_tokens", self.max_output_tokens.map_or(1, |n| n as usize), 1..=200_000),
        ] {
            within(name, value, range)?;
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err(format!("temperature: expected 0 to 2, got {}", self.temperature));
        }
        if !prompts.contains(&self.prompt) {
            return Err(format!(
                "prompt: there is no prompt {:?}; the prompts are: {}",
                self.prompt,
                prompts.join(", ")
            ));
        }
        if self.method == Method::Model && !has_model {
            return Err("method: no language model is configured (models.<name>)".to_owned());
        }
        Ok(())
    }

    /// Room for the words, their citations and some more.
    pub(super) fn output_tokens(&self) -> u32 {
        let needed = self.max_words.saturating_mul(2).saturating_add(512);
        self.max_output_tokens.unwrap_or(u32::try_from(needed).unwrap_or(u32::MAX))
    }

    pub(super) fn temperature_milli(&self) -> u16 {
        // Between 0 and 2000, as checked.
        (self.temperature * 1_000.0).round() as u16
    }
}
