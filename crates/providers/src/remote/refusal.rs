//! What a service means by an answer that is no output.

use std::time::{Duration, SystemTime};

use quillwork_app::ports::provider::ProviderError;
use quillwork_domain::job::ErrorClass;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::secret::Secret;

/// Of the service's own words.
const MAX_MESSAGE_CHARS: usize = 500;

/// Nobody is left alone for longer.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// What a service may say of its failure. The other classes are ours to tell.
const CLASSES: [ErrorClass; 7] = [
    ErrorClass::Transient,
    ErrorClass::RateLimited,
    ErrorClass::Quota,
    ErrorClass::Permanent,
    ErrorClass::TooLarge,
    ErrorClass::BadOutput,
    ErrorClass::NoSourcesFound,
];

pub(super) struct Refusal<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    /// Its beginning, if it is long.
    pub(super) body: &'a [u8],
}

impl Refusal<'_> {
    pub(super) fn into_error(self, service: &str, secret: &Secret, now: SystemTime) -> ProviderError {
        let retry_after = self.retry_after(now);
        let (told, words) = self.told(secret);
        let class = told.unwrap_or_else(|| self.class(retry_after.is_some()));
        let mut message = format!("{service} answered {}", self.status);
        if self.status.is_redirection() {
            message.push_str("; redirects are not followed: configure the address where it is");
        }
        if let Some(words) = words {
            message = format!("{message}: {words}");
        }
        ProviderError { class, message, retry_after }
    }

    fn class(&self, names_wait: bool) -> ErrorClass {
        match self.status.as_u16() {
            402 => ErrorClass::Quota,
            413 => ErrorClass::TooLarge,
            429 => ErrorClass::RateLimited,
            503 if names_wait => ErrorClass::RateLimited,
            408 | 425 | 500..=599 => ErrorClass::Transient,
            _ => ErrorClass::Permanent,
        }
    }

    /// `Retry-After` as seconds or as a date; a date in the past is no wait.
    fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
        };
        Some(wait.min(MAX_WAIT))
    }

    /// What `{"error": {"class": …, "message": …}}` says, or the problem of a `application/problem+json`.
    fn told(&self, secret: &Secret) -> (Option<ErrorClass>, Option<String>) {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind != "application/json" && kind != "application/problem+json" {
            return (None, None);
        }
        let Ok(body) = serde_json::from_slice::<Value>(self.body) else { return (None, None) };
        let error = &body["error"];
        let class = error["class"].as_str();
        let class = CLASSES.into_iter().find(|allowed| Some(allowed.as_str()) == class);
        let words = [&error["message"], error, &body["detail"], &body["title"]];
        // Before it is cut: half a secret is too much.
        let words = words.into_iter().find_map(Value::as_str).map(|words| tidy(&secret.redact(words)));
        (class, words.filter(|words| !words.is_empty()))
    }
}

/// One line without control characters, not too long.
fn tidy(words: &str) -> String {
    let plain: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn error(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> ProviderError {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let headers: HeaderMap = headers.collect();
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = Refusal { status, headers: &headers, body: body.as_bytes() };
        refusal.into_error("it", &Secret::new("the whole secret"), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_status_has_its_class() {
        use ErrorClass::*;
        for (status, class) in [
            (301, Permanent),
            (307, Permanent),
            (400, Permanent),
            (401, Permanent),
            (402, Quota),
            (404, Permanent),
            (408, Transient),
            (413, TooLarge),
            (422, Permanent),
            (425, Transient),
            (429, RateLimited),
            (500, Transient),
            (502, Transient),
            (503, Transient),
            (504, Transient),
            (599, Transient),
        ] {
            let error = error(status, &[], "");
            assert_eq!((error.class, error.retry_after), (class, None), "{status}");
            assert!(error.message.starts_with(&format!("it answered {status}")), "{}", error.message);
        }
    }

    #[test]
    fn a_wait_is_taken_as_seconds_and_as_a_date() {
        use ErrorClass::*;
        let day = 24 * 3_600;
        for (status, wait, class, seconds) in [
            (503, "7", RateLimited, Some(7)),
            (429, " 0 ", RateLimited, Some(0)),
            (500, "7", Transient, Some(7)),
            (400, "7", Permanent, Some(7)),
            (503, "Thu, 01 Jan 1970 00:01:00 GMT", RateLimited, Some(60)),
            (429, "Wed, 21 Oct 2015 07:28:00 GMT", RateLimited, Some(day)),
            (503, "99999999999", RateLimited, Some(day)),
            (503, "soon", Transient, None),
            (503, "-5", Transient, None),
        ] {
            let error = error(status, &[("retry-after", wait)], "");
            let expected = (class, seconds.map(Duration::from_secs));
            assert_eq!((error.class, error.retry_after), expected, "{status} {wait}");
        }
    }

    #[test]
    fn the_service_may_say_what_it_means() {
        use ErrorClass::*;
        let json = "application/json; charset=utf-8";
        for (status, kind, body, class, words) in [
            (
                500,
                json,
                r#"{"error":{"class":"permanent","message":"no such voice"}}"#,
                Permanent,
                "no such voice",
            ),
            (400, json, r#"{"error":{"class":"transient"}}"#, Transient, ""),
            (500, json, r#"{"error":{"class":"lost","message":"x"}}"#, Transient, "x"),
            (500, json, r#"{"error":{"class":"released"}}"#, Transient, ""),
            (
                422,
                json,
                r#"{"error":{"class":"no_sources_found","message":"a\u0000b\r\nc\u001b[2J"}}"#,
                NoSourcesFound,
                "a b c [2J",
            ),
            (500, json, r#"{"error":"it broke"}"#, Transient, "it broke"),
            (409, "application/problem+json", r#"{"title":"Conflict","detail":"taken"}"#, Permanent, "taken"),
            (409, "Application/Problem+JSON", r#"{"title":"Conflict"}"#, Permanent, "Conflict"),
            (500, json, r#"{"error":{"message":"key: the whole secret"}}"#, Transient, "key: ***"),
            (500, "text/html", r#"{"error":{"class":"permanent"}}"#, Transient, ""),
            (500, json, "<html>", Transient, ""),
            (500, json, "[]", Transient, ""),
        ] {
            let error = error(status, &[("content-type", kind)], body);
            assert_eq!(error.class, class, "{body}");
            let told = error.message.split_once(": ").map_or("", |(_, told)| told);
            assert_eq!(told, words, "{body}");
        }
    }

    #[test]
    fn long_words_are_cut() {
        let body = format!(r#"{{"error":{{"message":"{}"}}}}"#, "é".repeat(5_000));
        let error = error(500, &[("content-type", "application/json")], &body);
        assert!(error.message.chars().count() < MAX_MESSAGE_CHARS + 60, "{}", error.message);
        assert!(error.message.ends_with('…'));
        for n in MAX_MESSAGE_CHARS - 16..MAX_MESSAGE_CHARS {
            let words = format!("{} the whole secret", "x".repeat(n - 1));
            let body = format!(r#"{{"error":{{"message":"{words}"}}}}"#);
            let error = self::error(500, &[("content-type", "application/json")], &body);
            assert!(!error.message.contains(" the"), "{}", error.message);
        }
    }
}
