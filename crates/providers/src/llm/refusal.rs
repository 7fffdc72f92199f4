//! What a provider's error means, in every shape in which they come.

use std::time::Duration;

use chrono::{DateTime, Utc};
use quillwork_domain::job::ErrorClass;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::piece::text;
use super::wait;

/// Of what a provider says, for messages.
const MAX_SHOWN_CHARS: usize = 300;

/// An error as a provider told it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Refusal {
    /// Of the answer, or the one that an error inside a good answer names.
    pub(super) status: Option<u16>,
    /// Its names for what is wrong, in lower case.
    names: Vec<String>,
    /// In its words, on one line.
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// An answer with an error status.
    pub(super) fn of_body(status: u16, headers: &HeaderMap, body: &str, now: DateTime<Utc>) -> Self {
        let asked = wait::of_headers(headers, now);
        let mut refusal = match serde_json::from_str(body) {
            Ok(value) => Self::of_value(&value),
            Err(_) => Self { message: plain(body), ..Self::default() },
        };
        refusal.status = Some(status);
        refusal.retry_after = asked.or(refusal.retry_after);
        refusal
    }

    /// An error inside an answer whose status was good.
    pub(super) fn of_value(value: &Value) -> Self {
        let value = value.get(0).unwrap_or(value);
        let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
        let message = ["/message", "/detail", "/error"]
            .iter()
            .find_map(|field| text(error, field))
            .or_else(|| error.as_str())
            .map_or_else(|| shortened(&error.to_string()), shortened);
        // Behind a router stands the provider that has refused, and what it said.
        let raw = text(error, "/metadata/raw").map(|raw| format!("; {}", shortened(raw)));
        let code = error.get("code");
        let fields = ["/type", "/status", "/code", "/details/error_code", "/metadata/limit_source"];
        let quotas = error.get("details").and_then(Value::as_array).into_iter().flatten();
        let quotas = quotas.flat_map(|detail| detail.get("violations").and_then(Value::as_array)).flatten();
        let names = fields
            .iter()
            .filter_map(|field| text(error, field))
            .chain(quotas.filter_map(|violation| text(violation, "/quotaId")))
            .map(str::to_ascii_lowercase)
            .collect();
        let delay = error.get("details").and_then(Value::as_array).into_iter().flatten();
        let delay = delay.filter_map(|detail| text(detail, "/retryDelay")).find_map(wait::span);
        Self {
            status: code.and_then(status_code),
            names,
            retry_after: delay.or_else(|| wait::of_message(&message)),
            message: message + raw.as_deref().unwrap_or_default(),
        }
    }

    pub(super) fn class(&self) -> ErrorClass {
        let message = self.message.to_ascii_lowercase();
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
        if self.status == Some(413) || self.is(&TOO_LARGE) || says(&SAYS_TOO_LARGE) {
            return ErrorClass::TooLarge;
        }
        // Without a time to wait, money is what is missing; with one, it is only bound by calls that still run.
        if self.status == Some(402) {
            return if self.retry_after.is_some() { ErrorClass::RateLimited } else { ErrorClass::Quota };
        }
        if self.is(&QUOTA) || self.names.iter().any(|name| name.contains("perday")) || says(&SAYS_QUOTA) {
            return ErrorClass::Quota;
        }
        if self.status == Some(429) || self.is(&RATE_LIMITED) {
            return ErrorClass::RateLimited;
        }
        match self.status {
            Some(408 | 425 | 498) => ErrorClass::Transient,
            Some(501) => ErrorClass::Permanent,
            Some(500..) => ErrorClass::Transient,
            Some(_) => ErrorClass::Permanent,
            None if self.is(&PERMANENT) => ErrorClass::Permanent,
            None => ErrorClass::Transient,
        }
    }

    /// True where nothing is wrong with the call, but with the key, the address or the model's name.
    pub(super) fn is_misconfiguration(&self) -> bool {
        matches!(self.status, Some(300..=399 | 401 | 403 | 404 | 405))
            || self.is(&["authentication_error", "permission_error", "not_found_error"])
    }

    /// What an operator can do about it.
    pub(super) fn hint(&self, class: ErrorClass) -> &'static str {
        match self.status {
            Some(300..=399) => "; it redirects: set its `url` to where it points",
            Some(401 | 403) => "; check its key and what the key may do",
            Some(404 | 405) => "; check its `url` and the name of its model",
            Some(_) | None if class == ErrorClass::Quota => {
                "; the account's money or allowance is used up: raise it, or wait for the next period"
            }
            Some(_) | None => "",
        }
    }

    fn is(&self, names: &[&str]) -> bool {
        self.names.iter().any(|name| names.contains(&name.as_str()))
    }
}

const TOO_LARGE: [&str; 4] =
    ["context_length_exceeded", "exceed_context_size_error", "request_too_large", "string_above_max_length"];

const SAYS_TOO_LARGE: [&str; 6] = [
    "maximum context length",
    "exceeds the available context size",
    "context window",
    "prompt is too long",
    "request too large",
    "exceeds the maximum number of tokens",
];

const QUOTA: [&str; 10] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "enforced_spend_limit_reached",
    "quota_exceeded",
];

const SAYS_QUOTA: [&str; 3] = ["credit balance is too low", "spend limit", "spending limit"];

const RATE_LIMITED: [&str; 5] =
    ["rate_limit_exceeded", "rate_limit_error", "slow_down", "resource_exhausted", "too_many_requests"];

const PERMANENT: [&str; 8] = [
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "invalid_argument",
    "badrequesterror",
    "content_filter",
    "content_policy_violation",
];

/// Codes are texts, numbers or null. Only a number that is an error status is taken for one.
fn status_code(code: &Value) -> Option<u16> {
    let code = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    u16::try_from(code).ok().filter(|code| (400..600).contains(code))
}

/// The words of a page, without its tags.
fn plain(body: &str) -> String {
    let mut is_tag = false;
    let words: String = body
        .chars()
        .filter_map(|c| {
            let was_tag = is_tag;
            is_tag = (is_tag || c == '<') && c != '>';
            if was_tag || is_tag { (!is_tag).then_some(' ') } else { Some(c) }
        })
        .collect();
    shortened(&words)
}

/// On one line, and not long.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
