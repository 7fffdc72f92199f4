//! How long a provider asks to wait, in every way in which they say it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

/// Of the headers: `retry-after-ms`, or `Retry-After` as seconds or as a date.
pub(super) fn of_headers(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let millis = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    if let Some(wait) = millis.and_then(|millis| Duration::try_from_secs_f64(millis / 1_000.0).ok()) {
        return Some(wait);
    }
    let text = text("retry-after")?;
    span(text).or_else(|| until(text, now))
}

/// Of a sentence such as `Please try again in 5.289s.`
pub(super) fn of_message(message: &str) -> Option<Duration> {
    let lower = message.to_ascii_lowercase();
    ["try again in ", "retry in ", "retry after ", "try again after "]
        .iter()
        .find_map(|phrase| span(&lower[lower.find(phrase)? + phrase.len()..]))
}

/// A date, RFC 3339 or as in HTTP; one in the past is no wait.
pub(super) fn until(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let date = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text)).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

/// The time span that `text` begins with: `5`, `2.5`, `12ms`, `6m0s`, `1h2m3.5s`, `20 seconds`. A bare number is seconds.
pub(super) fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim_start();
    let mut total: Option<f64> = None;
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let n: f64 = rest[..end].trim_end_matches('.').parse().ok()?;
        let after = rest[end..].trim_start_matches(' ');
        let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let seconds = match &after[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" | "millisecond" | "milliseconds" => 1e-3,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3_600.0,
            "d" | "day" | "days" => 86_400.0,
            // A number without a unit stands alone.
            "" if total.is_none() && after.is_empty() => 1.0,
            _ => break,
        };
        total = Some(total.unwrap_or_default() + n * seconds);
        rest = after[end..].trim_start();
    }
    Duration::try_from_secs_f64(total?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-11-20T12:00:00Z").unwrap().to_utc()
    }

    #[test]
    fn spans() {
        let cases = [
            ("5", Some(5_000)),
            ("2.5", Some(2_500)),
            ("0", Some(0)),
            ("12ms", Some(12)),
            ("1s", Some(1_000)),
            ("6m0s", Some(360_000)),
            ("2m59.56s", Some(179_560)),
            ("1h2m3.5s", Some(3_723_500)),
            ("34s", Some(34_000)),
            ("20 seconds", Some(20_000)),
            ("1 minute 5 seconds", Some(65_000)),
            ("5.289s. Visit https://example.com", Some(5_289)),
            ("", None),
            ("-5", None),
            ("soon", None),
            ("5 bananas", None),
            ("1.2.3s", None),
            ("99999999999999999999999999999999", None),
        ];
        for (text, expected) in cases {
            let millis = span(text).map(|time| (time.as_secs_f64() * 1_000.0).round() as u64);
            assert_eq!(millis, expected, "{text:?}");
        }
    }

    #[test]
    fn headers() {
        let cases = [
            (vec![("retry-after", "7")], Some(7_000)),
            (vec![("retry-after", "Fri, 20 Nov 2026 12:00:30 GMT")], Some(30_000)),
            (vec![("retry-after", "Fri, 20 Nov 2026 11:00:00 GMT")], Some(0)),
            (vec![("retry-after", "2026-11-20T12:01:00Z")], Some(60_000)),
            (vec![("retry-after-ms", "250"), ("retry-after", "7")], Some(250)),
            (vec![("retry-after-ms", "NaN"), ("retry-after", "7")], Some(7_000)),
            (vec![("retry-after", "-1")], None),
            (vec![("retry-after", "in a while")], None),
            (vec![], None),
        ];
        for (pairs, expected) in cases {
            let headers = pairs
                .iter()
                .map(|(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap()));
            let wait = of_headers(&headers.collect(), now());
            assert_eq!(wait.map(|wait| wait.as_millis() as u64), expected, "{pairs:?}");
        }
    }

    #[test]
    fn sentences() {
        let cases = [
            (
                "Rate limit reached: Limit 6000, Used 5900. Please try again in 5.289s. Need more?",
                Some(5_289),
            ),
            ("Please try again in 1m12.5s", Some(72_500)),
            ("Please retry in 34.07s.", Some(34_070)),
            ("Please try again in 20 seconds.", Some(20_000)),
            ("Please try again later", None),
            ("İ try again in 5s", Some(5_000)),
        ];
        for (message, expected) in cases {
            let millis = of_message(message).map(|wait| (wait.as_secs_f64() * 1_000.0).round() as u64);
            assert_eq!(millis, expected, "{message}");
        }
    }
}
