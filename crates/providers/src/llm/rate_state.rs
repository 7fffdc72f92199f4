//! What a provider's headers say is left of its limits.

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use super::wait;

/// As of the last answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RateState {
    pub(super) remaining_requests: Option<u64>,
    pub(super) remaining_tokens: Option<u64>,
    /// When the scarcer of the two is full again.
    pub(super) resets_at: Option<Instant>,
}

/// One limit.
struct Window {
    remaining: u64,
    limit: Option<u64>,
    resets_at: Option<Instant>,
}

impl RateState {
    /// None if the headers say nothing.
    pub(super) fn of(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Self> {
        let openai = |kind: &str| Window::of(headers, now, |what| format!("x-ratelimit-{what}-{kind}"));
        let anthropic =
            |kind: &str| Window::of(headers, now, |what| format!("anthropic-ratelimit-{kind}-{what}"));
        let requests = openai("requests").or_else(|| anthropic("requests"));
        let tokens = openai("tokens").or_else(|| anthropic("tokens")).or_else(|| anthropic("input-tokens"));
        let scarcer = match (&requests, &tokens) {
            (Some(requests), Some(tokens)) if tokens.share() < requests.share() => Some(tokens),
            (None, Some(tokens)) => Some(tokens),
            (Some(requests), _) => Some(requests),
            (None, None) => None,
        };
        let resets_at = scarcer?.resets_at;
        Some(Self {
            remaining_requests: requests.map(|window| window.remaining),
            remaining_tokens: tokens.map(|window| window.remaining),
            resets_at,
        })
    }

    /// True if a call of so many tokens would most likely be refused now.
    pub(super) fn is_short_of(&self, tokens: u64, now: Instant) -> bool {
        let is_current = self.resets_at.is_some_and(|resets_at| now < resets_at);
        let is_short = self.remaining_requests == Some(0)
            || self.remaining_tokens.is_some_and(|remaining| remaining < tokens);
        is_current && is_short
    }
}

impl Window {
    fn of(headers: &HeaderMap, now: DateTime<Utc>, name: impl Fn(&str) -> String) -> Option<Self> {
        let text = |what| headers.get(name(what)).and_then(|value| value.to_str().ok()).map(str::trim);
        let number = |what| text(what).and_then(|text| text.parse().ok());
        let wait = text("reset").and_then(|text| wait::span(text).or_else(|| wait::until(text, now)));
        Some(Self {
            remaining: number("remaining")?,
            limit: number("limit"),
            resets_at: wait.and_then(|wait| Instant::now().checked_add(wait)),
        })
    }

    /// What is left, in thousandths. Without a limit to compare with: all, if anything.
    fn share(&self) -> u64 {
        let limit = self.limit.unwrap_or(self.remaining).max(1);
        self.remaining.saturating_mul(1_000) / limit
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn state(pairs: &[(&str, &str)]) -> Option<RateState> {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        RateState::of(&headers.collect(), "2026-11-20T12:00:00Z".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn headers_of_providers() {
        let seconds = |n| Some(Instant::now() + Duration::from_secs(n));
        let groq = state(&[
            ("x-ratelimit-limit-requests", "14400"),
            ("x-ratelimit-remaining-requests", "14370"),
            ("x-ratelimit-reset-requests", "2m59s"),
            ("x-ratelimit-limit-tokens", "18000"),
            ("x-ratelimit-remaining-tokens", "997"),
            ("x-ratelimit-reset-tokens", "57s"),
        ]);
        let expected = RateState {
            remaining_requests: Some(14_370),
            remaining_tokens: Some(997),
            resets_at: seconds(57),
        };
        assert_eq!(groq, Some(expected));
        let anthropic = state(&[
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-11-20T12:00:12Z"),
            ("anthropic-ratelimit-input-tokens-limit", "40000"),
            ("anthropic-ratelimit-input-tokens-remaining", "30000"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-20T12:00:01Z"),
        ]);
        let expected =
            RateState { remaining_requests: Some(0), remaining_tokens: Some(30_000), resets_at: seconds(12) };
        assert_eq!(anthropic, Some(expected));
        assert_eq!(state(&[("x-ratelimit-remaining-requests", "many")]), None);
        assert_eq!(state(&[]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_short_is_not_for_ever() {
        let now = Instant::now();
        let soon = Some(now + Duration::from_secs(10));
        let cases = [
            (Some(0), None, soon, true),
            (Some(1), Some(1_000), soon, false),
            (Some(1), Some(999), soon, true),
            (Some(0), Some(0), None, false),
            (Some(0), Some(0), Some(now), false),
        ];
        for (remaining_requests, remaining_tokens, resets_at, expected) in cases {
            let state = RateState { remaining_requests, remaining_tokens, resets_at };
            assert_eq!(state.is_short_of(1_000, now), expected, "{state:?}");
        }
    }
}
