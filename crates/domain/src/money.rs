//! Amounts of money: millionths of a US dollar, written as decimals and read exactly.

use std::fmt;
use std::str::FromStr;

/// Millionths of a US dollar, at most [`Usd::MAX`] where somebody names one. Shown as `0.50`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(pub u64);

/// Not an amount that can be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected US dollars such as 0.50, at most 1000000 and with at most six digits behind the point, got {0:?}"
)]
pub struct NotAnAmount(String);

impl Usd {
    /// One million dollars.
    pub const MAX: Self = Self(1_000_000_000_000);

    const DOLLAR: u64 = 1_000_000;
}

impl FromStr for Usd {
    type Err = NotAnAmount;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        exact(s)
            .filter(|amount| *amount <= Self::MAX)
            .ok_or_else(|| NotAnAmount(s.chars().take(40).collect()))
    }
}

/// Without a detour over binary fractions, which have no 0.1.
fn exact(text: &str) -> Option<Usd> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 7 || fraction.len() > 6 || !is_number(whole) || !is_number(fraction)
    {
        return None;
    }
    let micros: u64 = format!("{fraction:0<6}").parse().ok()?;
    Some(Usd(whole.parse::<u64>().ok()? * Usd::DOLLAR + micros))
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:06}", self.0 % Self::DOLLAR);
        // Cents are always shown, and what is smaller if there is any.
        let (cents, rest) = fraction.split_at(2);
        write!(f, "{}.{cents}{}", self.0 / Self::DOLLAR, rest.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, micros) in [
            ("0", 0),
            ("0.5", 500_000),
            ("0.50", 500_000),
            ("12", 12_000_000),
            ("0.1", 100_000),
            ("0.000001", 1),
            ("1000000.000000", Usd::MAX.0),
        ] {
            assert_eq!(text.parse(), Ok(Usd(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_named() {
        for text in [
            "",
            "-1",
            "+1",
            ".5",
            "1.",
            "1e3",
            "0.0000001",
            "1000000.000001",
            "10000000",
            "1,5",
            "0x1",
            " 1",
            "1.2.3",
        ] {
            let error = text.parse::<Usd>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn cents_are_always_shown() {
        let shown: Vec<String> =
            [0, 1, 500_000, 1_230_000, 1_234_500].map(|micros| Usd(micros).to_string()).into();
        assert_eq!(shown, ["0.00", "0.000001", "0.50", "1.23", "1.2345"]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(micros in 0..=Usd::MAX.0) {
            prop_assert_eq!(Usd(micros).to_string().parse(), Ok(Usd(micros)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,30}") {
            let _ = text.parse::<Usd>();
        }
    }
}
