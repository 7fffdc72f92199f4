//! What a benchmark says.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Args;
use super::collect::Measured;
use crate::output;

/// All figures. Latencies in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    server: String,
    pipeline: String,
    jobs: u64,
    clients: u32,
    batch: u32,
    rate: Option<f64>,
    jobs_accepted: u64,
    jobs_refused: u64,
    pub(super) jobs_completed: u64,
    jobs_failed: u64,
    /// Neither ended nor refused when the patience was at its end.
    jobs_unfinished: u64,
    /// From the first submission to the last end of a job.
    seconds: f64,
    /// Completed jobs in that time.
    jobs_per_second: f64,
    /// Accepted jobs from the first submission to the last answer.
    submitted_per_second: f64,
    /// Of a request: from its start (with a rate: from its schedule) to its answer.
    submit_ms: Latency,
    /// Of a job: from the start of its request to its `JobCompleted` in the event stream.
    end_to_end_ms: Latency,
    errors: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    mean: f64,
}

impl Latency {
    #[expect(clippy::cast_precision_loss, reason = "microseconds fit")]
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let max = histogram.max() as f64 / 1_000.0;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max,
            mean: histogram.mean() / 1_000.0,
        }
    }

    fn row(self, name: &str) -> [String; 7] {
        let cell = |millis: f64| format!("{millis:.2}");
        [
            name.to_owned(),
            cell(self.p50),
            cell(self.p90),
            cell(self.p99),
            cell(self.p999),
            cell(self.max),
            cell(self.mean),
        ]
    }
}

impl Report {
    pub(super) fn new(args: &Args, server: &str, measured: &Measured) -> Self {
        let ended = measured.completed + measured.failed + measured.refused;
        Self {
            server: server.to_owned(),
            pipeline: args.pipeline.clone(),
            jobs: args.jobs,
            clients: args.clients,
            batch: args.batch,
            rate: args.rate,
            jobs_accepted: measured.accepted,
            jobs_refused: measured.refused,
            jobs_completed: measured.completed,
            jobs_failed: measured.failed,
            jobs_unfinished: args.jobs.saturating_sub(ended),
            seconds: measured.total().as_secs_f64(),
            jobs_per_second: per_second(measured.completed, measured.total()),
            submitted_per_second: per_second(measured.accepted, measured.submitting()),
            submit_ms: Latency::of(&measured.submit),
            end_to_end_ms: Latency::of(&measured.end_to_end),
            errors: measured.errors.clone(),
        }
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        output::pairs([
            ("jobs", format!("{} of {} completed in {:.2} s", self.jobs_completed, self.jobs, self.seconds)),
            (
                "throughput",
                format!(
                    "{:.0} jobs/s, submitted at {:.0} jobs/s",
                    self.jobs_per_second, self.submitted_per_second
                ),
            ),
        ])?;
        output::line("")?;
        output::table(
            ["LATENCY (ms)", "p50", "p90", "p99", "p99.9", "max", "mean"],
            [self.submit_ms.row("submit"), self.end_to_end_ms.row("submit to completed")],
        )?;
        let counts = [("failed", self.jobs_failed), ("unfinished", self.jobs_unfinished)];
        let counts = counts.map(|(name, count)| (name.to_owned(), count));
        let errors: Vec<_> =
            counts.into_iter().filter(|(_, count)| *count > 0).chain(self.errors.clone()).collect();
        if !errors.is_empty() {
            output::line("")?;
            output::table(
                ["ERROR", "COUNT"],
                errors.into_iter().map(|(kind, count)| [kind, count.to_string()]),
            )?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts jobs beyond 2^52")]
fn per_second(count: u64, duration: Duration) -> f64 {
    if duration.is_zero() { 0.0 } else { count as f64 / duration.as_secs_f64() }
}
