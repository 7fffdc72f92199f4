//! Answers.

use quillwork_app::engine::Accepted;
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::job::Status;
use quillwork_projections::JobSummary;
use serde::Serialize;

/// Where to find what belongs to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Links {
    #[serde(rename = "self")]
    pub(crate) itself: String,
    pub(crate) events: String,
    pub(crate) stream: String,
    pub(crate) result: String,
}

impl Links {
    pub(crate) fn of(job: JobId) -> Self {
        let itself = format!("/v1/jobs/{job}");
        Self {
            events: format!("{itself}/events"),
            stream: format!("{itself}/stream"),
            result: format!("{itself}/result"),
            itself,
        }
    }
}

/// A job.
#[derive(Debug, Serialize)]
pub(crate) struct JobView {
    #[serde(flatten)]
    pub(crate) job: JobSummary,
    pub(crate) links: Links,
}

impl From<JobSummary> for JobView {
    fn from(job: JobSummary) -> Self {
        Self { links: Links::of(job.id), job: JobSummary { counted: vec![], ..job } }
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
        Self { id: job, status, position, links: Links::of(job) }
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
