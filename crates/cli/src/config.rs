//! The configuration: one TOML file, the environment and the flags.
//!
//! A flag wins over the environment, the environment over the file, the file over the default. Each layer is checked
//! by itself, so that an error can say where the wrong value stands.

mod budgets;
mod cache;
mod duration;
mod error;
mod fetch;
mod file;
mod frequency;
mod http_stage;
mod layers;
mod models;
mod pipelines;
mod retention;
mod search;
mod secret;
mod settings;

pub(crate) use budgets::BudgetSettings;
pub(crate) use duration::Span;
pub(crate) use error::ConfigError;
pub(crate) use frequency::Frequency;
pub(crate) use http_stage::HttpStageSettings;
pub(crate) use layers::{Config, Overrides, load, show_value, without_password};
pub(crate) use models::{Dialect, ModelSettings, Price};
pub(crate) use retention::RetentionSettings;
pub(crate) use search::{CORPUS, SearchKind, SearchSettings};
pub(crate) use settings::{LogFormat, Settings};
