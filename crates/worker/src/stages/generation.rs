//! Writes the article from what research found.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::ports::search::Findings;
use quillwork_app::ports::writer::{Brief, Writer};
use quillwork_domain::job::Usage;
use serde::Deserialize;

use crate::context::StageContext;
use crate::stage::{Stage, StageError, StageInput, StageOutput};
use crate::stages::Checked;

/// `settings.generation`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// About this many words at most, 50 to 20,000.
    max_words: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_words: 800 }
    }
}

impl Checked for Settings {
    fn check(&self) -> Result<(), String> {
        if (50..=20_000).contains(&self.max_words) {
            Ok(())
        } else {
            Err(format!("max_words: expected 50 to 20000, got {}", self.max_words))
        }
    }
}

pub(super) struct Generation {
    pub(super) writer: Arc<dyn Writer>,
}

#[async_trait]
impl Stage for Generation {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let settings: Settings = input.settings()?;
        let findings: Findings = input.latest("research findings")?;
        let brief = Brief { topic: input.topic, max_words: settings.max_words };
        let progress = cx.progress();
        let article = self.writer.write(&brief, &findings, progress.as_ref()).await?;
        let usage = article
            .usage
            .as_ref()
            .map(|usage| Usage { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens });
        Ok(StageOutput { usage, ..StageOutput::new(&article)? })
    }
}
