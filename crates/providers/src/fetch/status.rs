//! What the status of an answer means for the page.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use url::Url;

use crate::fetch::setback::Setback;

/// Nobody is left alone for longer because of one header.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
pub(super) enum Verdict {
    /// The page is in the body.
    Here,
    /// The page is where `Location` says.
    Elsewhere,
    Setback(Setback),
}

pub(super) fn judge(status: StatusCode, headers: &HeaderMap, url: &Url) -> Verdict {
    let code = status.as_u16();
    let retry_after = retry_after(headers, SystemTime::now());
    let setback = match code {
        200 | 203 => return Verdict::Here,
        301 | 302 | 303 | 307 | 308 => return Verdict::Elsewhere,
        404 | 410 => Setback::skip(format!("{url} does not exist (status {code})")),
        401 | 403 | 407 => Setback::skip(format!("{url} is not for everyone (status {code})")),
        451 => Setback::skip(format!("{url} is withheld for legal reasons (status {code})")),
        429 => Setback::rate_limited(format!("{url} was asked for too often (status {code})"), retry_after),
        503 if retry_after.is_some() => {
            Setback::rate_limited(format!("{url} is not available now (status {code})"), retry_after)
        }
        408 | 425 | 500..=599 => Setback::passing(format!("the server of {url} failed (status {code})")),
        _ => Setback::skip(format!("{url} has no page to read (status {code})")),
    };
    Verdict::Setback(setback)
}

/// How long to stay away: `Retry-After` in seconds, or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // More digits than fit are a long time.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use quillwork_domain::job::ErrorClass;

    use super::*;

    fn verdict(code: u16, headers: &HeaderMap) -> Verdict {
        judge(StatusCode::from_u16(code).unwrap(), headers, &Url::parse("http://example.com/a").unwrap())
    }

    #[test]
    fn a_status_tells_what_became_of_the_page() {
        let plain = HeaderMap::new();
        let patient = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().unwrap())]);
        for code in [200, 203] {
            assert!(matches!(verdict(code, &plain), Verdict::Here), "{code}");
        }
        for code in [301, 302, 303, 307, 308] {
            assert!(matches!(verdict(code, &plain), Verdict::Elsewhere), "{code}");
        }
        for code in [
            201, 202, 204, 206, 300, 304, 305, 400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 418, 421,
            451, 499, 999,
        ] {
            for headers in [&plain, &patient] {
                let Verdict::Setback(Setback::Skip(reason)) = verdict(code, headers) else {
                    panic!("{code}")
                };
                assert!(
                    reason.contains(&code.to_string()) && reason.contains("http://example.com/a"),
                    "{reason}"
                );
            }
        }
        for code in [408, 425, 500, 501, 502, 504, 520, 529, 599] {
            let Verdict::Setback(Setback::Fail(error)) = verdict(code, &patient) else { panic!("{code}") };
            assert_eq!((error.class, error.retry_after), (ErrorClass::Transient, None), "{code}");
        }
        for (code, headers, class, after) in [
            (429, &patient, ErrorClass::RateLimited, Some(7)),
            (503, &patient, ErrorClass::RateLimited, Some(7)),
            (429, &plain, ErrorClass::RateLimited, None),
            (503, &plain, ErrorClass::Transient, None),
        ] {
            let Verdict::Setback(Setback::Fail(error)) = verdict(code, headers) else { panic!("{code}") };
            assert_eq!((error.class, error.retry_after), (class, after.map(Duration::from_secs)), "{code}");
        }
    }

    #[test]
    fn patience_is_asked_for_in_seconds_or_until_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 2044 08:00:00 GMT", Some(86_400)),
            ("-1", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
