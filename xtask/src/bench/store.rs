//! All that is measured of one process on one store.

use std::path::Path;

use anyhow::{Context as _, Result};
use quillwork_test_servers::Postgres;

use super::figures::{JobRun, QueryFigures, Replay, Runs, Store, StoreFigures};
use super::generator::{self, Background, Order};
use super::measure::Stand;
use super::options::Extent;
use super::replay;
use super::server::Server;
use super::targets::CONNECTIONS;
use crate::report;

/// Connections and jobs of a batch.
const BATCHES: (u32, u32) = (8, 100);

/// Connections for jobs on a schedule: more than a store that keeps up ever needs.
const SCHEDULED: u32 = 64;

/// The rate at which a job is alone, per second.
const LOW_RATE: f64 = 20.0;

/// Connections that ask.
const ASKING: u32 = 32;

/// Jobs per second while it is asked.
const BUSY_RATE: f64 = 1_000.0;

/// One store to measure.
pub(super) struct Bench<'a> {
    pub(super) binary: &'a Path,
    pub(super) store: Store,
    pub(super) postgres: Option<&'a Postgres>,
    pub(super) extent: Extent,
}

impl Bench<'_> {
    pub(super) fn run(&self) -> Result<StoreFigures> {
        let mut single = Vec::new();
        for clients in self.extent.connections {
            let repeats = if *clients == CONNECTIONS { self.extent.repeats } else { 1 };
            single.push(self.repeated(*clients, 1, repeats)?);
        }
        let batches = self.repeated(BATCHES.0, BATCHES.1, self.extent.repeats)?;
        let most = single.iter().map(|runs| runs.median().jobs.jobs_per_second).fold(0.0, f64::max);
        let mut rates = vec![self.on_schedule(LOW_RATE, self.extent.low_rate.as_secs_f64())?];
        for fraction in self.extent.fractions {
            let rate = (most * fraction).round().max(1.0);
            rates.push(self.on_schedule(rate, self.extent.run.as_secs_f64())?);
        }
        let (queries, replay) = self.reading(most)?;
        Ok(StoreFigures { store: self.store, single, batches, rates, queries, replay })
    }

    fn repeated(&self, clients: u32, batch: u32, repeats: usize) -> Result<Runs> {
        let runs: Result<Vec<_>> = (0..repeats).map(|_| self.as_fast_as_it_goes(clients, batch)).collect();
        Runs::new(runs?).context("nothing is to be measured")
    }

    fn as_fast_as_it_goes(&self, clients: u32, batch: u32) -> Result<JobRun> {
        let stand = self.stand()?;
        let order = closed_loop(&stand, clients, batch, self.extent.run.as_secs_f64())?;
        let run = stand.run(&order)?;
        self.say(&format!(
            "{clients} connections, {batch} in a request: {:.0} jobs/s",
            run.jobs.jobs_per_second
        ));
        Ok(run)
    }

    fn on_schedule(&self, rate: f64, seconds: f64) -> Result<JobRun> {
        let stand = self.stand()?;
        stand.warm_up(SCHEDULED, 1)?;
        let run = stand.run(&Order {
            jobs: count(rate * seconds),
            clients: SCHEDULED,
            batch: 1,
            rate: Some(rate),
        })?;
        let latency = run.jobs.end_to_end_ms;
        self.say(&format!(
            "{rate:.0} jobs/s on schedule: p50 {:.1} ms, p99 {:.1} ms",
            latency.p50, latency.p99
        ));
        Ok(run)
    }

    /// Status queries, and then replay of the same data. `most` jobs a second are what the store takes.
    fn reading(&self, most: f64) -> Result<(QueryFigures, Replay)> {
        let mut stand = self.stand()?;
        let seconds = self.extent.run.as_secs_f64();
        // Also so many events that the start of a process does not count.
        let jobs = count(most * seconds * 3.0);
        let fill = Order { jobs, clients: BATCHES.0, batch: BATCHES.1, rate: None };
        generator::jobs(self.binary, stand.url()?, &fill)?;
        let probe = generator::queries(self.binary, stand.url()?, 5_000, ASKING)?;
        let n_queries = count(probe.queries_per_second * seconds);
        let idle = generator::queries(self.binary, stand.url()?, n_queries, ASKING)?;
        // Long enough however slow the queries become; it is ended with them.
        let busy_load = Order {
            jobs: count(BUSY_RATE * seconds * 20.0),
            clients: SCHEDULED,
            batch: 1,
            rate: Some(BUSY_RATE),
        };
        let background = Background::start(self.binary, stand.url()?, &busy_load)?;
        let busy = generator::queries(self.binary, stand.url()?, n_queries, ASKING)?;
        background.end()?;
        self.say(&format!(
            "{:.0} queries/s alone, {:.0} beside {BUSY_RATE} jobs/s",
            idle.queries_per_second, busy.queries_per_second
        ));
        stand.processes.drain(..).try_for_each(Server::terminate)?;
        let replay = replay::measure(self.binary, &stand.place.args(0))?;
        self.say(&format!(
            "replay of {} events: {:.0} /s into a fold, {:.0} /s into the read models",
            replay.events, replay.fold, replay.read_models
        ));
        Ok((QueryFigures { idle, busy, busy_rate: BUSY_RATE }, replay))
    }

    fn stand(&self) -> Result<Stand<'_>> {
        Stand::new(self.binary, self.postgres, &["up"])
    }

    fn say(&self, text: &str) {
        report(&format!("{}: {text}", self.store.name()));
    }
}

/// Warms up, and orders as many jobs as that time will take.
pub(super) fn closed_loop(stand: &Stand<'_>, clients: u32, batch: u32, seconds: f64) -> Result<Order> {
    let per_second = stand.warm_up(clients, batch)?;
    // The same number for each connection.
    let round = u64::from(clients) * u64::from(batch);
    let jobs = count(per_second * seconds).div_ceil(round) * round;
    Ok(Order { jobs, clients, batch, rate: None })
}

/// At least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is right here")]
fn count(jobs: f64) -> u64 {
    jobs.ceil().max(1.0) as u64
}
