//! What a benchmark says.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Args;
use super::collect::Measured;
use super::histogram::{Bucket, buckets};
use crate::output;

/// A timer this late distorts what is said of the server.
const LATE_MS: f64 = 5.0;

/// All figures of a load of jobs. Latencies in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct JobReport {
    server: String,
    pipeline: String,
    jobs: u64,
    clients: u32,
    batch: u32,
    rate: Option<f64>,
    jobs_accepted: u64,
    jobs_refused: u64,
    jobs_completed: u64,
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
    submit_histogram: Vec<Bucket>,
    end_to_end_histogram: Vec<Bucket>,
    schedule: Option<Kept>,
    errors: BTreeMap<String, u64>,
}

/// All figures of a load of status queries. Latencies in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct QueryReport {
    server: String,
    queries: u64,
    clients: u32,
    rate: Option<f64>,
    /// Different jobs that were asked for.
    jobs_known: u64,
    queries_answered: u64,
    queries_refused: u64,
    /// Neither answered nor refused when the patience was at its end.
    queries_unfinished: u64,
    /// From the first query to the last answer.
    seconds: f64,
    queries_per_second: f64,
    /// From the start of a query (with a rate: from its schedule) to its answer.
    query_ms: Latency,
    query_histogram: Vec<Bucket>,
    schedule: Option<Kept>,
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

/// How the schedule of a rate was kept.
#[derive(Clone, Copy, Debug, Serialize)]
struct Kept {
    /// Requests for which no connection was free when they were due. They count from then.
    overdue: u64,
    /// How late the generator's own timer was for the others. They count from when they were sent.
    timer_late_ms: Latency,
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

impl Kept {
    fn new(args: &Args, measured: &Measured) -> Option<Self> {
        args.rate
            .map(|_| Self { overdue: measured.overdue, timer_late_ms: Latency::of(&measured.timer_late) })
    }

    /// What the reader must know before he believes the latencies.
    fn print(self) -> anyhow::Result<()> {
        if self.overdue > 0 {
            output::line(&format!(
                "{} requests found no free connection when they were due; their latency counts from then",
                self.overdue
            ))?;
        }
        if self.timer_late_ms.p99 > LATE_MS {
            output::line(&format!(
                "the generator's own timer was late, p99 {:.2} ms, max {:.2} ms: this machine is too busy to keep the schedule",
                self.timer_late_ms.p99, self.timer_late_ms.max
            ))?;
        }
        Ok(())
    }
}

impl JobReport {
    pub(super) fn new(args: &Args, server: &str, measured: &Measured) -> Self {
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
            jobs_unfinished: args.jobs.saturating_sub(measured.done()),
            seconds: measured.total().as_secs_f64(),
            jobs_per_second: per_second(measured.completed, measured.total()),
            submitted_per_second: per_second(measured.accepted, measured.answering()),
            submit_ms: Latency::of(&measured.requests),
            end_to_end_ms: Latency::of(&measured.end_to_end),
            submit_histogram: buckets(&measured.requests),
            end_to_end_histogram: buckets(&measured.end_to_end),
            schedule: Kept::new(args, measured),
            errors: measured.errors.clone(),
        }
    }

    /// True if every job was completed.
    pub(super) fn is_good(&self) -> bool {
        self.jobs_completed == self.jobs
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
        print_latencies(&[
            ("submit", self.submit_ms, &self.submit_histogram),
            ("submit to completed", self.end_to_end_ms, &self.end_to_end_histogram),
        ])?;
        self.schedule.map_or(Ok(()), Kept::print)?;
        print_errors([("failed", self.jobs_failed), ("unfinished", self.jobs_unfinished)], &self.errors)
    }
}

impl QueryReport {
    pub(super) fn new(args: &Args, queries: u64, n_jobs: usize, server: &str, measured: &Measured) -> Self {
        Self {
            server: server.to_owned(),
            queries,
            clients: args.clients,
            rate: args.rate,
            jobs_known: n_jobs as u64,
            queries_answered: measured.shown,
            queries_refused: measured.refused,
            queries_unfinished: queries.saturating_sub(measured.done()),
            seconds: measured.answering().as_secs_f64(),
            queries_per_second: per_second(measured.shown, measured.answering()),
            query_ms: Latency::of(&measured.requests),
            query_histogram: buckets(&measured.requests),
            schedule: Kept::new(args, measured),
            errors: measured.errors.clone(),
        }
    }

    /// True if every query was answered.
    pub(super) fn is_good(&self) -> bool {
        self.queries_answered == self.queries
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        output::pairs([
            (
                "queries",
                format!("{} of {} answered in {:.2} s", self.queries_answered, self.queries, self.seconds),
            ),
            ("throughput", format!("{:.0} queries/s for {} jobs", self.queries_per_second, self.jobs_known)),
        ])?;
        print_latencies(&[("query", self.query_ms, &self.query_histogram)])?;
        self.schedule.map_or(Ok(()), Kept::print)?;
        print_errors([("unfinished", self.queries_unfinished)], &self.errors)
    }
}

fn print_latencies(latencies: &[(&str, Latency, &Vec<Bucket>)]) -> anyhow::Result<()> {
    output::line("")?;
    output::table(
        ["LATENCY (ms)", "p50", "p90", "p99", "p99.9", "max", "mean"],
        latencies.iter().map(|(name, latency, _)| latency.row(name)),
    )?;
    for (name, _, buckets) in latencies {
        let Some(most) = buckets.iter().map(Bucket::count).max() else { continue };
        output::line("")?;
        output::table(
            [&format!("{} (ms)", name.to_uppercase()), "COUNT", ""],
            buckets.iter().map(|bucket| bucket.row(most)),
        )?;
    }
    output::line("")
}

fn print_errors<const N: usize>(
    counts: [(&str, u64); N],
    errors: &BTreeMap<String, u64>,
) -> anyhow::Result<()> {
    let counts = counts.map(|(name, count)| (name.to_owned(), count));
    let errors: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).chain(errors.clone()).collect();
    if errors.is_empty() {
        return Ok(());
    }
    output::table(["ERROR", "COUNT"], errors.into_iter().map(|(kind, count)| [kind, count.to_string()]))
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts beyond 2^52")]
fn per_second(count: u64, duration: Duration) -> f64 {
    if duration.is_zero() { 0.0 } else { count as f64 / duration.as_secs_f64() }
}
