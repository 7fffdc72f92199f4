//! Answers.

use std::fmt::{self, Display};

use quillwork_app::engine::Accepted;
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::job::Status;
use quillwork_domain::money::Usd;
use quillwork_projections::JobSummary;
use serde::{Serialize, Serializer};

/// Where to find what belongs to a job. Paths are made as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Links(JobId);

impl Links {
    /// The job itself.
    pub(crate) fn itself(self) -> impl Display {
        Path(self.0, "")
    }
}

impl Serialize for Links {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let paths = [("self", ""), ("events", "/events"), ("stream", "/stream"), ("result", "/result")];
        serializer.collect_map(paths.map(|(name, under)| (name, Path(self.0, under))))
    }
}

/// A path at or under a job.
struct Path(JobId, &'static str);

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/v1/jobs/{}{}", self.0, self.1)
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A job.
#[derive(Debug, Serialize)]
pub(crate) struct JobView {
    #[serde(flatten)]
    pub(crate) job: JobSummary,
    pub(crate) cost: Cost,
    pub(crate) links: Links,
}

/// What a job has cost, and how much it may.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    #[serde(serialize_with = "usd")]
    pub(crate) spent_usd: u64,
    #[serde(serialize_with = "optional_usd")]
    pub(crate) budget_usd: Option<u64>,
}

/// Writes millionths of a US dollar as a decimal.
pub(crate) fn usd<S: Serializer>(micros: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Usd(*micros))
}

fn optional_usd<S: Serializer>(micros: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match micros {
        Some(micros) => usd(micros, serializer),
        None => serializer.serialize_none(),
    }
}

impl From<JobSummary> for JobView {
    fn from(job: JobSummary) -> Self {
        let cost = Cost { spent_usd: job.spent_micros(), budget_usd: job.budget_micros };
        Self { links: Links(job.id), cost, job: JobSummary { counted: vec![], beside: vec![], ..job } }
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

/// A job was submitted.
#[derive(Debug, Serialize)]
pub(crate) struct Submitted {
    pub(crate) id: JobId,
    pub(crate) status: Status,
    pub(crate) position: Position,
    pub(crate) links: Links,
}

impl From<Accepted> for Submitted {
    fn from(accepted: Accepted) -> Self {
        let Accepted { job, status, position, .. } = accepted;
        Self { id: job, status, position, links: Links(job) }
    }
}

/// A job was cancelled or set going again.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    pub(crate) id: JobId,
    pub(crate) status: Status,
    pub(crate) position: Position,
}

impl From<Accepted> for Changed {
    fn from(accepted: Accepted) -> Self {
        Self { id: accepted.job, status: accepted.status, position: accepted.position }
    }
}
