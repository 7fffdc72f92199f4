//! Writes the article from what research found: with a language model, or by quoting.

mod check;
mod compose;
mod feedback;
mod material;
mod model;
pub(super) mod prompt;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::ports::model::LanguageModel;
use quillwork_app::ports::search::Findings;
use quillwork_app::ports::writer::{Article, Brief, Writer};
use quillwork_domain::job::{ErrorClass, Usage};
use quillwork_text::escape::escape;

use self::feedback::describe;
use self::model::Assigned;
use self::prompt::Template;
use self::settings::Method;
pub(super) use self::settings::Settings;
use crate::context::StageContext;
use crate::stage::{Stage, StageError, StageInput, StageOutput};

pub(super) struct Generation {
    /// Quotes.
    pub(super) writer: Arc<dyn Writer>,
    /// Absent if none is configured.
    pub(super) model: Option<Arc<dyn LanguageModel>>,
    pub(super) prompts: BTreeMap<String, Template>,
}

#[async_trait]
impl Stage for Generation {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let settings: Settings = input.settings()?;
        let findings: Findings = input.latest("research findings")?;
        let article = match (settings.method, &self.model) {
            (Method::Extractive, _) | (Method::Auto, None) => {
                self.quote(&settings, &input.topic, &findings, cx).await?
            }
            (Method::Auto | Method::Model, Some(model)) => {
                let template = self.prompts.get(&settings.prompt).ok_or_else(|| {
                    StageError::permanent(format!(
                        "settings.generation.prompt: there is no prompt {:?} in this worker's configuration",
                        settings.prompt
                    ))
                })?;
                let assigned = Assigned {
                    settings: &settings,
                    topic: &input.topic,
                    findings: &findings,
                    template,
                    feedback: &describe(&input.feedback),
                };
                match assigned.write(model.as_ref(), cx).await {
                    Err(error) if settings.fallback && gives_up(error.class) => {
                        tracing::warn!(job = %cx.job(), class = %error.class, cause = error.message, "quoting, since no model wrote");
                        let article = self.quote(&settings, &input.topic, &findings, cx).await?;
                        // What a provider says is text, and no citations, links or images.
                        let line: Vec<&str> = error.message.split_whitespace().collect();
                        let line = line.join(" ").replace('[', "(").replace(']', ")");
                        article.degraded_by(&error.message, &escape(&line))
                    }
                    written => written?,
                }
            }
            (Method::Model, None) => {
                return Err(StageError::permanent(
                    "settings.generation.method is \"model\", and this worker has no model (models.<name>)",
                ));
            }
        };
        let usage = article
            .usage
            .as_ref()
            .map(|usage| Usage { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens });
        Ok(StageOutput { usage, ..StageOutput::new(&article)? })
    }
}

impl Generation {
    async fn quote(
        &self,
        settings: &Settings,
        topic: &str,
        findings: &Findings,
        cx: &StageContext,
    ) -> Result<Article, StageError> {
        let brief = Brief { topic: topic.to_owned(), max_words: settings.max_words };
        let progress = cx.progress();
        Ok(self.writer.write(&brief, findings, progress.as_ref()).await?)
    }
}

/// True if asking models again would not help, or not before somebody does something about it.
fn gives_up(class: ErrorClass) -> bool {
    match class {
        ErrorClass::BadOutput | ErrorClass::Quota | ErrorClass::Permanent | ErrorClass::TooLarge => true,
        ErrorClass::Transient
        | ErrorClass::RateLimited
        | ErrorClass::Timeout
        | ErrorClass::Panic
        | ErrorClass::Lost
        | ErrorClass::Released
        | ErrorClass::NoSourcesFound
        | ErrorClass::UnknownHandler
        | ErrorClass::Undecodable
        | ErrorClass::BudgetExhausted => false,
    }
}
