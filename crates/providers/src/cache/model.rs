//! Prompts that were answered before.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::ports::cache::CacheKey;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::model::{Completion, DraftSink, Finish, LanguageModel, Prompt, TokenUsage};
use quillwork_app::ports::provider::ProviderError;

use crate::cache::answers::{Answer, Answers, Question};

/// A new shape of [`Completion`] needs a new version.
pub(super) const NAMESPACE: &str = "completion.v1";

/// Pays for the same completion once.
pub struct CachedModel {
    inner: Arc<dyn LanguageModel>,
    scope: String,
    temperatures: Temperatures,
    answers: Arc<Answers>,
}

/// Which prompts have one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temperatures {
    /// Those with temperature 0: whoever asks for chance gets it.
    #[default]
    Zero,
    /// All of them.
    Any,
}

impl CachedModel {
    /// `scope` is what decides the answer besides the prompt: the models that may be chosen.
    pub fn new(
        inner: Arc<dyn LanguageModel>,
        scope: String,
        temperatures: Temperatures,
        answers: Arc<Answers>,
    ) -> Self {
        Self { inner, scope, temperatures, answers }
    }

    /// Nothing for a prompt whose answer must not be used again.
    fn key(&self, prompt: &Prompt) -> Option<CacheKey> {
        let has_one_answer = match self.temperatures {
            Temperatures::Any => true,
            Temperatures::Zero => prompt.temperature_milli == 0,
        };
        let prompt = has_one_answer.then(|| serde_json::to_vec(prompt).ok())??;
        Some(CacheKey::new(NAMESPACE, &[self.scope.as_bytes(), &prompt]))
    }
}

#[async_trait]
impl LanguageModel for CachedModel {
    async fn complete(
        &self,
        prompt: &Prompt,
        call: &Call,
        draft: &mut dyn DraftSink,
    ) -> Result<Completion, ProviderError> {
        let Some(key) = self.key(prompt) else { return self.inner.complete(prompt, call, draft).await };
        let ttl = |completion: &Completion| match completion.finish {
            Finish::Stop if !completion.text.trim().is_empty() => Some(self.answers.ttls().completion),
            Finish::Stop | Finish::Length | Finish::Filtered => None,
        };
        let question = Question { kind: "completion", key };
        let answer = self.answers.get(question, call, ttl, self.inner.complete(prompt, call, draft)).await?;
        Ok(match answer {
            Answer::Fresh(completion) => completion,
            Answer::Kept(mut completion) => {
                draft.push(&completion.text);
                completion.choice =
                    format!("from the cache, where it cost nothing; at first: {}", completion.choice);
                completion.from_cache = true;
                completion.cost_micros = 0;
                completion.usage = TokenUsage::default();
                completion
            }
        })
    }
}
