//! Finds what the article will be written from.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::ports::call::CacheUse;
use quillwork_app::ports::search::{Query, Search};
use quillwork_domain::job::ErrorClass;
use serde::Deserialize;

use crate::context::StageContext;
use crate::stage::{Stage, StageError, StageInput, StageOutput};
use crate::stages::Checked;

/// `settings.research`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// At most this many documents, 1 to 50.
    max_sources: usize,
    /// At most this many passages of one document, 1 to 100.
    max_passages: usize,
    /// Fewer documents than this fail the job.
    min_sources: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_sources: 6, max_passages: 12, min_sources: 1 }
    }
}

impl Checked for Settings {
    fn check(&self) -> Result<(), String> {
        for (name, value, range) in [
            ("max_sources", self.max_sources, 1..=50),
            ("max_passages", self.max_passages, 1..=100),
            ("min_sources", self.min_sources, 1..=self.max_sources.max(1)),
        ] {
            if !range.contains(&value) {
                return Err(format!("{name}: expected {} to {}, got {value}", range.start(), range.end()));
            }
        }
        Ok(())
    }
}

pub(super) struct Research {
    pub(super) search: Arc<dyn Search>,
}

#[async_trait]
impl Stage for Research {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let settings: Settings = input.settings()?;
        let query = Query {
            topic: input.topic,
            max_sources: settings.max_sources,
            max_passages: settings.max_passages,
        };
        let progress = cx.progress();
        let findings = self.search.search(&query, &cx.call(CacheUse::Use), progress.as_ref()).await?;
        let n_found = findings.sources.len();
        if n_found < settings.min_sources {
            let searched = &findings.searched;
            let message = format!(
                "{n_found} sources found about {:?} in the {} documents of {}, at least {} needed; try other words or another corpus",
                query.topic, searched.documents, searched.name, settings.min_sources
            );
            return Err(StageError::new(ErrorClass::NoSourcesFound, message));
        }
        StageOutput::new(&findings)
    }
}
