//! Everything that a run finds out. Written as JSON as it stands here.

use serde::Serialize;

use super::generator::{Jobs, Queries};
use super::machine::Machine;

#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) machine: Machine,
    /// Short, for trying.
    pub(super) quick: bool,
    pub(super) minutes: f64,
    /// Share of the machine's CPU time that other virtual machines had during the run, 0 to 1.
    pub(super) stolen: f64,
    /// Share of all cores that were busy after the run, 0 to 1.
    pub(super) other_load_after: f64,
    pub(super) stores: Vec<StoreFigures>,
    /// Several processes on one PostgreSQL.
    pub(super) fleets: Vec<Fleet>,
    /// Many jobs in PostgreSQL, if that was asked for.
    pub(super) stored: Option<Stored>,
    pub(super) raw: Vec<RawLimit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Store {
    #[serde(rename = "SQLite")]
    Sqlite,
    #[serde(rename = "PostgreSQL")]
    Postgres,
}

impl Store {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// What one process, `quillwork up`, does on a store.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StoreFigures {
    pub(super) store: Store,
    /// Single submissions as fast as answers come, by ascending connections.
    pub(super) single: Vec<Runs>,
    /// Batches of 100 as fast as answers come.
    pub(super) batches: Runs,
    /// Single submissions on a schedule, by ascending rate. The first one is 20 a second.
    pub(super) rates: Vec<JobRun>,
    pub(super) queries: QueryFigures,
    pub(super) replay: Replay,
}

/// The same measurement several times, at least once; slowest first.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Runs(Vec<JobRun>);

#[derive(Clone, Debug, Serialize)]
pub(super) struct JobRun {
    pub(super) jobs: Jobs,
    pub(super) cost: Cost,
}

/// Per completed job, but for memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Cost {
    pub(super) server_cpu_micros: f64,
    pub(super) database_cpu_micros: Option<f64>,
    /// Commits of events.
    pub(super) commits: f64,
    /// Growth of the data directory with its write-ahead logs, or of the PostgreSQL database.
    pub(super) data_bytes: f64,
    /// Growth of SQLite's write-ahead logs, or what PostgreSQL wrote to its own.
    pub(super) wal_bytes: f64,
    /// Proportional set size of all our processes.
    pub(super) peak_pss_mb: f64,
    /// The sum of what each of our processes had at most.
    pub(super) peak_rss_mb: f64,
}

impl Cost {
    /// Of our processes and of PostgreSQL's.
    pub(super) fn cpu_micros(&self) -> f64 {
        self.server_cpu_micros + self.database_cpu_micros.unwrap_or_default()
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct QueryFigures {
    pub(super) idle: Queries,
    /// While jobs come at `busy_rate` a second.
    pub(super) busy: Queries,
    pub(super) busy_rate: f64,
}

/// Events per second of whole processes, from their start to their end.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Replay {
    pub(super) events: u64,
    /// `rebuild --only-queue`: reads the log, folds every job and makes the queue anew.
    pub(super) fold: f64,
    /// `rebuild --only-read-models`.
    pub(super) read_models: f64,
    /// `audit verify`.
    pub(super) audit: f64,
}

/// Processes on one PostgreSQL under one load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fleet {
    pub(super) roles: Vec<String>,
    pub(super) runs: Runs,
}

/// Single submissions to an empty store and to one with many finished jobs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Stored {
    pub(super) jobs: u64,
    pub(super) empty: Runs,
    pub(super) filled: Runs,
}

/// What the machine can do without us, per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct RawLimit {
    pub(super) name: String,
    pub(super) before: f64,
    pub(super) after: f64,
}

impl Runs {
    /// None if there are none.
    pub(super) fn new(mut runs: Vec<JobRun>) -> Option<Self> {
        runs.sort_by(|a, b| a.jobs.jobs_per_second.total_cmp(&b.jobs.jobs_per_second));
        (!runs.is_empty()).then_some(Self(runs))
    }

    /// The run in the middle; of two, the slower one.
    pub(super) fn median(&self) -> &JobRun {
        &self.0[(self.0.len() - 1) / 2]
    }

    pub(super) fn slowest(&self) -> &JobRun {
        &self.0[0]
    }

    pub(super) fn fastest(&self) -> &JobRun {
        &self.0[self.0.len() - 1]
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl StoreFigures {
    /// Single submissions over so many connections.
    pub(super) fn single(&self, clients: u32) -> Option<&Runs> {
        self.single.iter().find(|runs| runs.median().jobs.clients == clients)
    }
}
