//! Rates as people write them: `5/s`, `60/min`, `100/h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use quillwork_app::ports::rate_limiter::{InvalidRate, Rate};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// So many per second, minute or hour; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("pattern" = "^[0-9]+/(s|min|h)$", "examples" = ["5/s", "60/min", "100/h"]))]
pub(crate) struct Frequency {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

impl Unit {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

/// Not a rate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a rate such as 5/s, 60/min or 100/h, got {0:?}")]
pub(crate) struct NotAFrequency(String);

impl FromStr for Frequency {
    type Err = NotAFrequency;

    fn from_str(text: &str) -> Result<Self, NotAFrequency> {
        let parse = || {
            let (count, name) = text.split_once('/')?;
            let unit = Unit::ALL.into_iter().find(|unit| unit.name() == name)?;
            let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
            let count = count.parse().ok().filter(|count| is_number && *count > 0)?;
            Some(Self { count, unit })
        };
        parse().ok_or_else(|| NotAFrequency(text.to_owned()))
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit.name())
    }
}

impl Serialize for Frequency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Frequency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Frequency {
    /// A rate with its burst; an error names the member and says what is accepted.
    pub(crate) fn rate(
        rate: Option<Self>,
        burst: Option<u32>,
    ) -> Result<Option<Rate>, (&'static str, String)> {
        let Some(Self { count, unit }) = rate else {
            return match burst {
                Some(_) => Err(("burst", "there is no rate that it could belong to".to_owned())),
                None => Ok(None),
            };
        };
        // Several at once where one at a time would be more often than a timer can tell apart.
        let burst = burst.unwrap_or_else(|| (count / unit.seconds() / 10).max(1));
        let rate = Rate::new(count, Duration::from_secs(unit.seconds().into()), burst);
        rate.map(Some).map_err(|error| match error {
            InvalidRate::Zero | InvalidRate::TooFast => ("rate", error.to_string()),
            InvalidRate::TooSlow => ("burst", error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start_rate(rate: &str, burst: Option<u32>) -> Result<Option<Rate>, (&'static str, String)> {
        Frequency::rate(Some(rate.parse().unwrap()), burst)
    }

    #[test]
    fn reads_what_it_writes() {
        for (text, interval_micros, burst) in
            [("5/s", 200_000, 1), ("60/min", 1_000_000, 1), ("2/h", 1_800_000_000, 1), ("500/s", 2_000, 50)]
        {
            let rate = start_rate(text, None).unwrap().unwrap();
            assert_eq!((rate.interval_micros(), rate.burst()), (interval_micros, burst), "{text}");
            assert_eq!(text.parse::<Frequency>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in
            ["", "5", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "5/m", "5/d", "5 / s", "5/s/s", "99999999999/s"]
        {
            assert!(text.parse::<Frequency>().is_err(), "{text}");
        }
        assert_eq!(start_rate("10001/s", None).unwrap_err().0, "rate");
        assert_eq!(start_rate("1/h", Some(10_000)).unwrap_err().0, "burst");
    }
}
