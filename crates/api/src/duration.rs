//! Durations as clients write them: `30s`, `500ms`.

use std::time::Duration;

/// Reads `30s` or `500ms`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let (digits, unit): (&str, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(digits) => (digits, Duration::from_millis),
        None => (text.strip_suffix('s').unwrap_or(""), Duration::from_secs),
    };
    // `u64::from_str` would take a sign.
    if digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(n) = digits.parse()
    {
        return Ok(unit(n));
    }
    Err(format!("expected a duration such as 30s or 500ms, got {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_milliseconds() {
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "s", "ms", "30", "-1s", "+1s", "1.5s", "1m", "9999999999999999999999s", " 1s"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
