//! Writing with a language model: one answer, one repair, and every call paid once.

use quillwork_app::ports::call::{CacheUse, Call};
use quillwork_app::ports::model::{Completion, LanguageModel, Prompt};
use quillwork_app::ports::search::Findings;
use quillwork_app::ports::writer::{Article, PromptRef, Usage};
use quillwork_domain::job::{ErrorClass, Spent};
use serde::{Deserialize, Serialize};

use super::check::{clean, problems};
use super::compose::compose;
use super::material::Material;
use super::prompt::{Assignment, Template};
use super::settings::Settings;
use crate::context::StageContext;
use crate::stage::StageError;

/// Rounds of an answer and its repair; more are never begun, however often the stage is tried.
const MAX_ROUNDS: u32 = 20;

/// Half as much of the sources is tried when they are too much, so often.
const HALVINGS: u32 = 3;

/// A model's answer, and what it was asked: the output of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) prompt: PromptRef,
    /// The numbers of the sources that it was given, as research counts them.
    pub(super) sources: Vec<u32>,
    /// Characters of passages that it was given at most.
    pub(super) source_chars: usize,
    pub(super) completion: Completion,
}

/// What to write, and from what.
pub(super) struct Assigned<'a> {
    pub(super) settings: &'a Settings,
    pub(super) topic: &'a str,
    pub(super) findings: &'a Findings,
    pub(super) template: &'a Template,
    /// Why an earlier draft was sent back; empty for the first.
    pub(super) feedback: &'a str,
}

impl Assigned<'_> {
    /// Asks until an answer passes its checks: once, and once more with what is wrong. An attempt that comes after one
    /// that ended without an article asks anew; what was answered before is read from its steps.
    pub(super) async fn write(
        &self,
        model: &dyn LanguageModel,
        cx: &StageContext,
    ) -> Result<Article, StageError> {
        let mut usage = Usage { input_tokens: 0, output_tokens: 0 };
        for round in 1..=MAX_ROUNDS {
            let (first, second) = (format!("write:{round}"), format!("repair:{round}"));
            let was_refused = cx.has_step(&first) && cx.has_step(&second);
            // Who asks again wants another answer than the one that was refused; it replaces that one in the cache.
            let cache = if round == 1 { self.settings.cache } else { CacheUse::Bypass };
            let written = self.ask(&first, cache, model, cx).await?;
            add(&mut usage, &written.completion);
            let wrong = match self.finish(&written, &usage) {
                Ok(article) => return Ok(article),
                Err(wrong) => wrong,
            };
            let repaired = self.repair(&second, &written, &wrong, model, cx).await?;
            add(&mut usage, &repaired.completion);
            let wrong = match self.finish(&repaired, &usage) {
                Ok(article) => return Ok(article),
                Err(wrong) => wrong,
            };
            if !was_refused {
                let message = format!(
                    "the article of {} cannot be used, also after a repair: {}",
                    repaired.completion.model,
                    wrong.join(" ")
                );
                return Err(StageError::new(ErrorClass::BadOutput, message));
            }
        }
        Err(StageError::permanent(format!(
            "models wrote {MAX_ROUNDS} times and never an article that can be used"
        )))
    }

    /// Asks for the article; with fewer passages if the model has no room for all.
    async fn ask(
        &self,
        step: &str,
        cache: CacheUse,
        model: &dyn LanguageModel,
        cx: &StageContext,
    ) -> Result<Written, StageError> {
        cx.paid_step(step, async || {
            let mut max_chars = self.settings.max_source_chars;
            for halving in 0..=HALVINGS {
                let material = Material::choose(self.findings, max_chars);
                let prompt = self.prompt(&material);
                match self.complete(step, &prompt, &material, model, &cx.call(cache), cx).await {
                    Err(error) if error.class == ErrorClass::TooLarge && halving < HALVINGS => {
                        max_chars = material.n_chars() / 2;
                    }
                    done => return done,
                }
            }
            Err(StageError::new(ErrorClass::TooLarge, "no model takes even an eighth of the sources"))
        })
        .await
    }

    async fn repair(
        &self,
        step: &str,
        written: &Written,
        wrong: &[String],
        model: &dyn LanguageModel,
        cx: &StageContext,
    ) -> Result<Written, StageError> {
        cx.paid_step(step, async || {
            let material = Material::choose(self.findings, written.source_chars);
            let answer = clean(&written.completion.text);
            let prompt = self.template.ask_again(self.prompt(&material), &answer, wrong);
            let call = cx.call(CacheUse::Bypass);
            self.complete(step, &prompt, &material, model, &call, cx).await
        })
        .await
    }

    fn prompt(&self, material: &Material<'_>) -> Prompt {
        self.template.ask(&Assignment {
            topic: self.topic,
            max_words: self.settings.max_words,
            sources: &material.text(),
            feedback: self.feedback,
            max_output_tokens: self.settings.output_tokens(),
            temperature_milli: self.settings.temperature_milli(),
        })
    }

    async fn complete(
        &self,
        step: &str,
        prompt: &Prompt,
        material: &Material<'_>,
        model: &dyn LanguageModel,
        call: &Call,
        cx: &StageContext,
    ) -> Result<(Written, Option<Spent>), StageError> {
        let mut draft = cx.draft();
        let answer = model.complete(prompt, call, &mut draft).await;
        cx.record_failed_calls(step, &mut draft).await?;
        let completion = answer?;
        let spent = (!completion.from_cache).then(|| Spent {
            provider: completion.provider.clone(),
            model: completion.model.clone(),
            input_tokens: completion.usage.input,
            output_tokens: completion.usage.output,
            cost_micros: completion.cost_micros,
            prices: completion.prices.clone(),
        });
        let prompt = self.template.reference().clone();
        let (sources, source_chars) = (material.numbers(), material.max_chars);
        Ok((Written { prompt, sources, source_chars, completion }, spent))
    }

    /// The article of an answer, or what is wrong with it.
    fn finish(&self, written: &Written, usage: &Usage) -> Result<Article, Vec<String>> {
        let text = clean(&written.completion.text);
        let wrong = problems(&written.completion, &text, &written.sources);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let material = Material::choose(self.findings, written.source_chars);
        Ok(compose(self.topic, &text, self.findings, &material, written, usage.clone()))
    }
}

/// What was paid for an answer.
fn add(usage: &mut Usage, completion: &Completion) {
    if !completion.from_cache {
        usage.input_tokens += completion.usage.input;
        usage.output_tokens += completion.usage.output;
    }
}
