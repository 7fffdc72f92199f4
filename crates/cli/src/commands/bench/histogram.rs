//! Latencies in buckets whose bounds grow as on a logarithmic scale, as data and as bars for a terminal.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The bounds of each decade.
const STEPS: [u64; 6] = [100, 150, 200, 300, 500, 700];

/// The longest bar, in characters.
const BAR: usize = 40;

/// An eighth of a character, two, and so on.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// How many latencies are at least `from_ms` and below `to_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Bucket {
    from_ms: f64,
    to_ms: f64,
    count: u64,
}

/// All buckets from the first to the last that is not empty.
pub(super) fn buckets(micros: &Histogram<u64>) -> Vec<Bucket> {
    let mut recorded =
        micros.iter_recorded().map(|it| (it.value_iterated_to(), it.count_at_value())).peekable();
    let mut buckets = Vec::new();
    for (from, to) in bounds() {
        if recorded.peek().is_none() {
            break;
        }
        let mut count = 0;
        while let Some((_, n)) = recorded.next_if(|(value, _)| *value < to) {
            count += n;
        }
        if count > 0 || !buckets.is_empty() {
            buckets.push(Bucket { from_ms: millis(from), to_ms: millis(to), count });
        }
    }
    buckets
}

/// From 0 on, in microseconds.
fn bounds() -> impl Iterator<Item = (u64, u64)> {
    let decades = (0_u32..).map_while(|decade| 10_u64.checked_pow(decade));
    let mut from = 0;
    decades.flat_map(|power| STEPS.map(|step| step.saturating_mul(power))).map(move |to| {
        let range = (from, to);
        from = to;
        range
    })
}

#[expect(clippy::cast_precision_loss, reason = "the bounds that are used fit")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

impl Bucket {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Its bounds, its count, and a bar whose length is to that of the longest as its count is to `most`.
    pub(super) fn row(&self, most: u64) -> [String; 3] {
        let range = format!("{} – {}", bound(self.from_ms), bound(self.to_ms));
        [range, self.count.to_string(), bar(self.count, most)]
    }
}

/// Without zeros at the end: 0.15, 2, 1500.
fn bound(millis: f64) -> String {
    format!("{millis}")
}

/// What is there shows, however little it is.
fn bar(count: u64, most: u64) -> String {
    let eighths = (u128::from(count) * BAR as u128 * 8).div_ceil(u128::from(most.max(1)));
    let eighths = usize::try_from(eighths).unwrap_or(usize::MAX).min(BAR * 8);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies: &[(u64, u64)]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 86_400_000_000, 3).unwrap();
        for (micros, count) in latencies {
            histogram.record_n(*micros, *count).unwrap();
        }
        histogram
    }

    #[test]
    fn buckets_hold_everything_and_show_gaps() {
        let buckets = buckets(&of(&[(99, 1), (100, 2), (149, 3), (150, 4), (699, 5)]));
        let seen: Vec<_> = buckets.iter().map(|b| (b.from_ms, b.to_ms, b.count)).collect();
        assert_eq!(
            seen,
            [(0.0, 0.1, 1), (0.1, 0.15, 5), (0.15, 0.2, 4), (0.2, 0.3, 0), (0.3, 0.5, 0), (0.5, 0.7, 5)]
        );
    }

    #[test]
    fn nothing_has_no_buckets_and_the_longest_latency_has_one() {
        assert_eq!(buckets(&of(&[])), []);
        let day = buckets(&of(&[(86_400_000_000, 7)]));
        assert_eq!(day.len(), 1);
        assert_eq!((day[0].from_ms, day[0].to_ms, day[0].count), (70_000_000.0, 100_000_000.0, 7));
    }

    #[test]
    fn bars_are_as_long_as_counts() {
        let buckets = buckets(&of(&[(800, 1_000), (1_200, 500), (1_700, 0), (2_500, 1), (6_000, 13)]));
        let rows: Vec<_> = buckets.iter().map(|bucket| bucket.row(1_000).join("|")).collect();
        assert_eq!(
            rows,
            [
                "0.7 – 1|1000|████████████████████████████████████████",
                "1 – 1.5|500|████████████████████",
                "1.5 – 2|0|",
                "2 – 3|1|▏",
                "3 – 5|0|",
                "5 – 7|13|▋",
            ]
        );
    }
}
