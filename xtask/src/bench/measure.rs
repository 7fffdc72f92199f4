//! One measurement: a new store, processes on it, a load, and what it cost.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use quillwork_test_servers::Postgres;

use super::accounts;
use super::figures::{Cost, JobRun};
use super::generator::{self, Order};
use super::place::{Place, Usage};
use super::server::Server;

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(200);

/// What still happens after the last job is counted: read models, a checkpoint.
const SETTLE: Duration = Duration::from_millis(300);

/// Processes on a store of their own. The first one has the API.
pub(super) struct Stand<'a> {
    // Before the place: the processes end first.
    pub(super) processes: Vec<Server>,
    pub(super) place: Place<'a>,
    binary: &'a Path,
}

impl<'a> Stand<'a> {
    /// Starts these roles on a new store.
    pub(super) fn new(binary: &'a Path, postgres: Option<&'a Postgres>, roles: &[&str]) -> Result<Self> {
        let place = Place::new(postgres)?;
        let mut processes = Vec::new();
        for (nth, role) in roles.iter().enumerate() {
            processes.push(Server::start(binary, role, &place.args(nth))?);
        }
        Ok(Self { processes, place, binary })
    }

    pub(super) fn url(&self) -> Result<&str> {
        self.processes.first().map(|server| server.url.as_str()).context("there is no process")
    }

    /// Some jobs, so that connections, caches and files are there, and what only grows at first has grown (a queue has
    /// room for its dead rows); returns how many a second there were.
    pub(super) fn warm_up(&self, clients: u32, batch: u32) -> Result<f64> {
        let jobs = (u64::from(clients) * u64::from(batch) * 250).clamp(500, 20_000);
        let order = Order { jobs, clients, batch, rate: None };
        Ok(generator::jobs(self.binary, self.url()?, &order)?.jobs_per_second)
    }

    /// A load and its price.
    pub(super) fn run(&self, order: &Order) -> Result<JobRun> {
        let before = Snapshot::take(self)?;
        let pids: Vec<u32> = self.processes.iter().map(Server::pid).collect();
        let over = AtomicBool::new(false);
        let (jobs, peak_pss_kb) = thread::scope(|scope| {
            let sampler = scope.spawn(|| peak_pss_kb(&pids, &over));
            let jobs = generator::jobs(self.binary, self.url()?, order);
            over.store(true, Ordering::Relaxed);
            let peak = sampler.join().ok().context("the sampler of memory panicked")?;
            anyhow::Ok((jobs?, peak))
        })?;
        thread::sleep(SETTLE);
        let after = Snapshot::take(self)?;
        let peak_rss_kb = pids.iter().filter_map(|pid| accounts::peak_rss_kb(*pid)).sum();
        let cost = after.cost_since(&before, jobs.jobs_completed, peak_pss_kb, peak_rss_kb);
        Ok(JobRun { jobs, cost })
    }
}

/// The most that the processes had together.
fn peak_pss_kb(pids: &[u32], over: &AtomicBool) -> u64 {
    let mut peak = 0;
    loop {
        peak = pids.iter().filter_map(|pid| accounts::pss_kb(*pid)).sum::<u64>().max(peak);
        if over.load(Ordering::Relaxed) {
            return peak;
        }
        thread::sleep(SAMPLE);
    }
}

struct Snapshot {
    cpu_micros: u64,
    commits: u64,
    usage: Usage,
}

impl Snapshot {
    fn take(stand: &Stand<'_>) -> Result<Self> {
        let (mut cpu_micros, mut commits) = (0, 0);
        for server in &stand.processes {
            cpu_micros += accounts::cpu_micros(server.pid())?;
            commits += server.commits()?;
        }
        Ok(Self { cpu_micros, commits, usage: stand.place.usage()? })
    }

    #[expect(clippy::cast_precision_loss, reason = "what a benchmark counts fits")]
    fn cost_since(&self, earlier: &Self, n_jobs: u64, peak_pss_kb: u64, peak_rss_kb: u64) -> Cost {
        let per_job = |after: u64, before: u64| after.saturating_sub(before) as f64 / n_jobs.max(1) as f64;
        let database = self.usage.database_cpu_micros.zip(earlier.usage.database_cpu_micros);
        Cost {
            server_cpu_micros: per_job(self.cpu_micros, earlier.cpu_micros),
            database_cpu_micros: database.map(|(after, before)| per_job(after, before)),
            commits: per_job(self.commits, earlier.commits),
            data_bytes: per_job(self.usage.data_bytes, earlier.usage.data_bytes),
            wal_bytes: per_job(self.usage.wal_bytes, earlier.usage.wal_bytes),
            peak_pss_mb: megabytes(peak_pss_kb),
            peak_rss_mb: megabytes(peak_rss_kb),
        }
    }
}

/// The kernel's kB are of 1024 bytes, our MB of a million.
#[expect(clippy::cast_precision_loss, reason = "nobody has so much memory")]
fn megabytes(kb: u64) -> f64 {
    kb as f64 * 1_024.0 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_per_job() {
        let usage = |data_bytes, wal_bytes, cpu| Usage { data_bytes, wal_bytes, database_cpu_micros: cpu };
        let before = Snapshot { cpu_micros: 1_000, commits: 5, usage: usage(4_000, 100, Some(50)) };
        let after = Snapshot { cpu_micros: 11_000, commits: 15, usage: usage(504_000, 50, Some(7_050)) };
        let cost = after.cost_since(&before, 100, 1_000, 2_000);
        assert_eq!(
            (cost.server_cpu_micros, cost.database_cpu_micros, cost.commits),
            (100.0, Some(70.0), 0.1)
        );
        assert_eq!((cost.data_bytes, cost.wal_bytes), (5_000.0, 0.0));
        assert_eq!((cost.peak_pss_mb, cost.peak_rss_mb), (1.024, 2.048));
    }
}
