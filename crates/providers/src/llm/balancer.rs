//! Several endpoints as one model.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::model::{Completion, DraftSink, FailedCall, LanguageModel, Prompt, TokenUsage};
use quillwork_app::ports::provider::ProviderError;
use quillwork_app::ports::rate_limiter::RateLimiter;
use quillwork_domain::job::ErrorClass;
use tokio::time::Instant;

use super::choose::{Candidate, choose};
use super::config::{EndpointConfig, InvalidEndpoint};
use super::endpoint::Endpoint;
use super::price::{PriceTable, estimated_tokens};
use crate::resilience::{ProviderMetrics, Standing, shown};

/// Of a reason, in the record of a choice.
const MAX_REASON_CHARS: usize = 120;

/// Chooses an endpoint for each call, and another one if that fails in a way that the other may not.
pub struct Balancer {
    endpoints: Vec<Endpoint>,
    prices: PriceTable,
}

impl Balancer {
    /// Endpoints with a key share its budget with other processes through `limiter`.
    pub fn new(
        configs: Vec<EndpointConfig>,
        prices: PriceTable,
        limiter: &Arc<dyn RateLimiter>,
        metrics: &ProviderMetrics,
    ) -> Result<Self, InvalidEndpoint> {
        if configs.is_empty() {
            return Err(InvalidEndpoint::None);
        }
        let mut names = HashSet::new();
        if let Some(twice) = configs.iter().find(|config| !names.insert(&config.name)) {
            return Err(InvalidEndpoint::Twice(twice.name.clone()));
        }
        let endpoint = |config: EndpointConfig| {
            let price = prices.price(&config.name, &config.model);
            Endpoint::new(config, price, limiter.clone(), metrics.clone())
        };
        let endpoints = configs.into_iter().map(endpoint).collect::<Result<_, _>>()?;
        Ok(Self { endpoints, prices })
    }
}

#[async_trait]
impl LanguageModel for Balancer {
    async fn complete(
        &self,
        prompt: &Prompt,
        call: &Call,
        draft: &mut dyn DraftSink,
    ) -> Result<Completion, ProviderError> {
        let need = Need::of(prompt);
        let mut untried: Vec<&Endpoint> = self.endpoints.iter().collect();
        let mut passed_over = Vec::new();
        untried.retain(|endpoint| {
            let is_too_small = endpoint.config.context_tokens.is_some_and(|context| context < need.total());
            if is_too_small {
                passed_over.push(format!("{}: its context is too small", endpoint.config.name));
            }
            !is_too_small
        });
        if untried.is_empty() {
            return Err(too_large(need));
        }
        let mut failures: Vec<(&Endpoint, ProviderError)> = Vec::new();
        let mut draft = Draft { draft, has_text: false, prices: None };
        loop {
            let candidates: Vec<_> = untried.iter().map(|endpoint| candidate(endpoint, need)).collect();
            let Some(n) = choose(&candidates, fastrand::u32(..)) else {
                return Err(nobody(&untried, failures));
            };
            let endpoint = untried.remove(n);
            draft.begin();
            draft.prices = endpoint.price.map(|_| self.prices.version.clone());
            let error = match endpoint.complete(prompt, need.prompt, call, &mut draft).await {
                Ok(completion) => {
                    passed_over.extend(untried.iter().filter_map(|endpoint| absence(endpoint)));
                    return Ok(self.record(completion, endpoint, &candidates[n], &passed_over));
                }
                Err(error) => error,
            };
            let others = others_may_do(endpoint, &error, &mut untried);
            if !others {
                return Err(error);
            }
            tracing::warn!(endpoint = endpoint.config.name, error = %error, "a language model failed; another one is asked, if there is one");
            passed_over.push(cut(&error.message));
            failures.push((endpoint, error));
        }
    }
}

impl Balancer {
    fn record(
        &self,
        completion: Completion,
        endpoint: &Endpoint,
        candidate: &Candidate,
        passed_over: &[String],
    ) -> Completion {
        let latency = candidate.latency.map_or_else(|| "not measured yet".to_owned(), shown);
        let mut choice = format!("chose {} (weight {}, {latency})", endpoint.config.name, candidate.weight);
        if !passed_over.is_empty() {
            choice = format!("{choice}; passed over {}", passed_over.join("; "));
        }
        let prices = endpoint.price.map(|_| self.prices.version.clone());
        Completion { choice, prices, ..completion }
    }
}

/// Tokens that a call takes, as estimated.
#[derive(Clone, Copy)]
struct Need {
    prompt: u64,
    answer: u64,
}

impl Need {
    fn of(prompt: &Prompt) -> Self {
        let messages = prompt.messages.iter().map(|message| message.text.chars().count()).sum::<usize>();
        let chars = prompt.system.chars().count() + messages;
        Self { prompt: estimated_tokens(chars), answer: prompt.max_output_tokens.into() }
    }

    fn total(self) -> u64 {
        self.prompt.saturating_add(self.answer)
    }
}

/// Knows whether watchers have seen text that counts no more.
struct Draft<'a> {
    draft: &'a mut dyn DraftSink,
    has_text: bool,
    /// What the endpoint's price was taken from.
    prices: Option<String>,
}

impl Draft<'_> {
    fn begin(&mut self) {
        if self.has_text {
            self.restart();
        }
    }
}

impl DraftSink for Draft<'_> {
    fn push(&mut self, text: &str) {
        self.has_text = true;
        self.draft.push(text);
    }

    fn restart(&mut self) {
        self.has_text = false;
        self.draft.restart();
    }

    fn billed(&mut self, call: FailedCall) {
        self.draft.billed(FailedCall { prices: self.prices.clone(), ..call });
    }
}

fn candidate(endpoint: &Endpoint, need: Need) -> Candidate {
    let state = *endpoint.state();
    let usage = TokenUsage { input: need.prompt, output: need.answer, estimated: true };
    Candidate {
        weight: endpoint.config.weight,
        standing: endpoint.guard.standing(),
        is_misconfigured: state.is_misconfigured,
        is_short: state.rate.is_short_of(need.total(), Instant::now()),
        latency: state.latency,
        cost_micros: endpoint.price.map(|price| price.cost_micros(usage)),
    }
}

/// Whether another endpoint may succeed where this one failed; those that cannot leave `untried`.
fn others_may_do(failed: &Endpoint, error: &ProviderError, untried: &mut Vec<&Endpoint>) -> bool {
    match error.class {
        ErrorClass::Transient | ErrorClass::RateLimited | ErrorClass::Quota => true,
        ErrorClass::Permanent => failed.state().is_misconfigured,
        // Only one that is known to hold more.
        ErrorClass::TooLarge => {
            let too_small = failed.config.context_tokens;
            untried.retain(|other| too_small.is_some() && other.config.context_tokens > too_small);
            !untried.is_empty()
        }
        ErrorClass::BadOutput
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

/// Why an endpoint could not be chosen, if it could not.
fn absence(endpoint: &Endpoint) -> Option<String> {
    match endpoint.guard.standing() {
        Standing::Ready { .. } => None,
        Standing::Away { left, class: ErrorClass::Quota, .. } => {
            Some(format!("{}: its quota is used up; asked again in {}", endpoint.config.name, shown(left)))
        }
        Standing::Away { left, reason, .. } => {
            Some(cut(&format!("{}: not asked for {} ({reason})", endpoint.config.name, shown(left))))
        }
    }
}

/// What all failures and absences together mean for the job.
fn nobody(untried: &[&Endpoint], mut failures: Vec<(&Endpoint, ProviderError)>) -> ProviderError {
    if untried.is_empty() && failures.len() == 1 {
        return failures.remove(0).1;
    }
    let reasons = failures.iter().map(|(_, error)| error.message.clone());
    let reasons: Vec<_> = reasons.chain(untried.iter().filter_map(|endpoint| absence(endpoint))).collect();
    let all = failures.iter().map(|(endpoint, _)| *endpoint).chain(untried.iter().copied());
    let standings: Vec<_> = all.map(|endpoint| endpoint.guard.standing()).collect();
    let nearest = standings.iter().filter_map(patience).min();
    let has = |class| failures.iter().any(|(_, error)| error.class == class);
    let is_quota = |standing: &Standing| matches!(standing, Standing::Away { class: ErrorClass::Quota, .. });
    // One that failed and may be asked again at once is the nearest of all.
    let may_return = failures
        .iter()
        .any(|(endpoint, error)| error.class == ErrorClass::Transient && !endpoint.guard.is_tripped());
    let (class, retry_after) = if may_return {
        (ErrorClass::Transient, None)
    } else if nearest.is_some() || has(ErrorClass::RateLimited) {
        (ErrorClass::RateLimited, nearest)
    } else if standings.iter().any(is_quota) {
        (ErrorClass::Quota, None)
    } else {
        (ErrorClass::Permanent, None)
    };
    let message = format!("no language model can answer now: {}", reasons.join("; "));
    ProviderError { class, message, retry_after }
}

/// Until an endpoint can be asked again without anybody's doing.
fn patience(standing: &Standing) -> Option<Duration> {
    match standing {
        Standing::Away { class: ErrorClass::Quota, .. } | Standing::Ready { .. } => None,
        Standing::Away { left, .. } => Some(*left),
    }
}

fn too_large(need: Need) -> ProviderError {
    ProviderError {
        class: ErrorClass::TooLarge,
        message: format!(
            "the prompt has about {} tokens and its answer may have {}: more than the `context_tokens` of every language \
             model",
            need.prompt, need.answer
        ),
        retry_after: None,
    }
}

fn cut(reason: &str) -> String {
    match reason.char_indices().nth(MAX_REASON_CHARS) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}
