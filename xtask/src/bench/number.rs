//! Numbers for readers, never rounded to look better than they are.

/// Rounds to what is shown in the direction that does not flatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    /// More is better.
    Down,
    /// Less is better.
    Up,
}

impl Rounding {
    /// With three digits at least, and commas: 12,345, 12.3, 1.23, 0.123.
    pub(super) fn show(self, value: f64) -> String {
        let decimals = match value.abs() {
            size if size >= 100.0 => 0,
            size if size >= 10.0 => 1,
            size if size >= 1.0 => 2,
            _ => 3,
        };
        let scale = 10_f64.powi(decimals);
        let scaled = value * scale;
        // What is whole but for an error of the last bit stays what it is.
        let near = scaled.round();
        let rounded = if (scaled - near).abs() < 1e-9 * near.abs().max(1.0) {
            near
        } else {
            match self {
                Self::Down => scaled.floor(),
                Self::Up => scaled.ceil(),
            }
        };
        let places = usize::try_from(decimals).unwrap_or_default();
        grouped(&format!("{:.places$}", rounded / scale))
    }
}

/// With commas between thousands.
fn grouped(number: &str) -> String {
    let (whole, fraction) =
        number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let mut text = String::new();
    for (nth, digit) in whole.chars().enumerate() {
        if nth > 0 && (whole.len() - nth) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{text}.{fraction}"),
        None => text,
    }
}

/// Without decimals: for counts and for goals.
pub(super) fn whole(value: f64) -> String {
    grouped(&format!("{value:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_never_flattered() {
        for (value, down, up) in [
            (11_999.9, "11,999", "12,000"),
            (12_000.0, "12,000", "12,000"),
            (1_234_567.2, "1,234,567", "1,234,568"),
            (99.96, "99.9", "100.0"),
            (6.001, "6.00", "6.01"),
            (2.9, "2.90", "2.90"),
            (0.0384, "0.038", "0.039"),
            (0.0, "0.000", "0.000"),
        ] {
            assert_eq!((Rounding::Down.show(value), Rounding::Up.show(value)), (down.into(), up.into()));
        }
        assert_eq!((whole(999.4), whole(1_000.0)), ("999".to_owned(), "1,000".to_owned()));
    }
}
