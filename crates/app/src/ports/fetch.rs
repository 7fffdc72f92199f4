//! Reading single pages of the web.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::ports::call::Call;
use crate::ports::provider::ProviderError;
use crate::ports::search::Passage;

/// Fetches pages and takes their prose out of them.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Reads the page at `url`, following redirects.
    ///
    /// A page that cannot be had at all is `Ok(Fetched::Skipped)`, with the reason. An error means that the same call
    /// may go well later.
    async fn fetch(&self, url: &str, call: &Call) -> Result<Fetched, ProviderError>;
}

/// What became of a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetched {
    Page(Box<Page>),
    /// Why it is left out, for people: the address, what is wrong, and what would help.
    Skipped(String),
}

/// A page as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Where it was found after all redirects, in canonical form.
    pub url: String,
    pub title: String,
    /// The prose in document order, without navigation; scores are 0. Lines count those of the extracted Markdown, from 1.
    pub passages: Vec<Passage>,
    /// Absolute addresses that the page links to, canonical, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// SHA-256 of the body as received, in hex.
    pub sha256: String,
    /// For example `en`, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}
