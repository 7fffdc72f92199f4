//! Points in time as data, to the millisecond.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z; written as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The last millisecond of the year 9999, the end of what RFC 3339 can write.
const LAST: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The end of time, in the year 9999.
    pub const MAX: Self = Self(LAST);

    /// Clamped to the years 1970 to 9999, so that every timestamp can be written.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, LAST))
    }

    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// This long after `self`; the end of time if that is too far.
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(LAST);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Timestamp {
    /// The 24 characters of `2026-01-31T12:00:00.000Z`. By hand, because every event is hashed with its time.
    pub fn to_rfc3339(self) -> [u8; 24] {
        let time = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or(DateTime::UNIX_EPOCH);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        // Clamped to years of four digits, none of them negative.
        let year = time.year().unsigned_abs();
        for (at, n_digits, number) in [
            (0, 4, year),
            (5, 2, time.month()),
            (8, 2, time.day()),
            (11, 2, time.hour()),
            (14, 2, time.minute()),
            (17, 2, time.second()),
            (20, 3, time.timestamp_subsec_millis()),
        ] {
            let mut rest = number;
            for digit in text[at..at + n_digits].iter_mut().rev() {
                *digit += (rest % 10) as u8;
                rest /= 10;
            }
        }
        text
    }
}

/// A day in UTC, written as `2026-01-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// Counted from 1970-01-01; the last day of the year 9999 if that is too far.
    pub fn from_number(number: u32) -> Self {
        Self(number.min(Timestamp::MAX.day().0))
    }

    pub fn number(self) -> u32 {
        self.0
    }

    /// The midnight that ends it.
    pub fn end(self) -> Timestamp {
        Timestamp::from_millis((i64::from(self.0) + 1) * MILLIS_A_DAY)
    }
}

const MILLIS_A_DAY: i64 = 86_400_000;

impl Timestamp {
    pub fn day(self) -> Day {
        Day(u32::try_from(self.0 / MILLIS_A_DAY).unwrap_or(0))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Timestamp::from_millis(i64::from(self.0) * MILLIS_A_DAY).to_rfc3339();
        f.write_str(std::str::from_utf8(&text[..10]).unwrap_or_default())
    }
}

/// Not a day that can be written, between the years 1970 and 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a day between the years 1970 and 9999 such as 2026-01-31, got {0:?}")]
pub struct NotADay(String);

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let midnight = if s.len() == 10 {
            format!("{s}T00:00:00Z").parse::<Timestamp>()
        } else {
            Err(NotATime(s.into()))
        };
        midnight.map(Timestamp::day).map_err(|_| NotADay(s.into()))
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_rfc3339()).unwrap_or_default())
    }
}

/// Not a point in time that RFC 3339 can write, between the years 1970 and 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 time between the years 1970 and 9999 such as 2026-01-31T12:00:00Z, got {0:?}")]
pub struct NotATime(String);

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let millis = DateTime::parse_from_rfc3339(s).map_err(|_| NotATime(s.into()))?.timestamp_millis();
        if (0..=LAST).contains(&millis) { Ok(Self(millis)) } else { Err(NotATime(s.into())) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.to_rfc3339()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_in_utc_with_milliseconds() {
        let time: Timestamp = "2026-11-20T09:00:00.5+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-20T07:00:00.500Z");
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
    }

    #[test]
    fn every_digit_has_its_place() {
        for text in ["1970-01-01T00:00:00.000Z", "2026-12-31T23:59:58.907Z", "9999-12-31T23:59:59.999Z"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_it_could_not_write_again() {
        for text in ["", "tomorrow", "2026-11-20", "1969-12-31T23:59:59Z"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn does_not_overflow() {
        assert_eq!(
            Timestamp::from_millis(i64::MAX).plus(Duration::MAX).to_string(),
            "9999-12-31T23:59:59.999Z"
        );
    }

    #[test]
    fn days_are_in_utc_and_return() {
        let late: Timestamp = "2026-01-31T23:59:59.999Z".parse().unwrap();
        assert_eq!(late.day().to_string(), "2026-01-31");
        assert_eq!(late.day().end().to_string(), "2026-02-01T00:00:00.000Z");
        assert_eq!("2026-01-31".parse(), Ok(late.day()));
        assert_eq!(Timestamp::MAX.day().end(), Timestamp::MAX);
        for text in ["2026-02-30", "1969-12-31", "2026-1-1", "today", "2026-01-31T"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }
}
