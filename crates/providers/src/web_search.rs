//! Searches of the web: what they find has an address and was not read.
//!
//! Each adapter speaks one wire format and classifies its errors. It asks once: trying again, sparing a provider and
//! choosing another are for those who wrap it.

pub mod brave;
mod http;
mod results;
pub mod searxng;
pub mod wikipedia;

/// Settings that cannot work, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSettings(String);
