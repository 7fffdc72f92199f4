//! Writes a digest of quoted sentences, without a language model.

use async_trait::async_trait;
use quillwork_app::ports::provider::{Progress, ProviderError};
use quillwork_app::ports::search::Findings;
use quillwork_app::ports::writer::{Article, Brief, Writer};
use quillwork_domain::job::ErrorClass;

use crate::extractive::candidates::candidates;
use crate::extractive::layout::lay_out;
use crate::extractive::rank::ranks;
use crate::extractive::select::select;
use crate::watch::watched;

mod candidates;
mod definition;
mod layout;
mod phrases;
mod quotable;
mod rank;
mod select;

/// Ranks the sentences of the findings by how much they say about the topic, and quotes the best word for word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extractive;

#[async_trait]
impl Writer for Extractive {
    /// # Errors
    /// `NoSourcesFound` if no sentence of the findings can be quoted.
    async fn write(
        &self,
        brief: &Brief,
        findings: &Findings,
        progress: &dyn Progress,
    ) -> Result<Article, ProviderError> {
        let (brief, findings) = (brief.clone(), findings.clone());
        watched(progress, "writing the digest", move |_| digest(&brief, &findings)).await
    }
}

fn digest(brief: &Brief, findings: &Findings) -> Result<Article, ProviderError> {
    let candidates = candidates(&brief.topic, findings);
    if candidates.is_empty() {
        return Err(ProviderError {
            class: ErrorClass::NoSourcesFound,
            message: format!(
                "no sentence about {:?} can be quoted from the {} sources found in {}; name the topic in other words, \
                 or search a corpus with more prose about it",
                brief.topic,
                findings.sources.len(),
                findings.searched.name
            ),
            retry_after: None,
        });
    }
    let ranks = ranks(&candidates);
    let selection = select(&candidates, &ranks, findings, brief.max_words);
    Ok(lay_out(&brief.topic, findings, &candidates, &selection))
}
