//! What is so, as far as deciding needs to know.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Attempt, Version};
use crate::job::{JobError, JobSubmitted};
use crate::payload::Payload;
use crate::plan::{PlannedStage, StageIndex};
use crate::time::Timestamp;

/// A job, folded from its events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// How many events were folded.
    pub version: Version,
    pub phase: Phase,
    /// None until submitted.
    pub submitted: Option<Arc<JobSubmitted>>,
    /// The stage that runs or waits; the last one once the job is completed.
    pub stage: StageIndex,
    /// How often the current stage was started, over all manual retries.
    pub attempt: Attempt,
    /// How often the current stage failed by its own fault since the last manual retry.
    pub failures: u32,
    /// How often the current stage was turned away for its rate since the last manual retry.
    pub rate_limits: u32,
    /// How often the current stage lost its worker since the last manual retry.
    pub losses: u32,
    /// Finished steps of the current stage.
    pub steps: Vec<Step>,
    /// One per completed stage, in plan order.
    pub outputs: Vec<Payload>,
    /// Why the job failed, while it is failed.
    pub error: Option<JobError>,
}

/// A finished step inside the current stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub key: String,
    pub output: Payload,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has happened yet.
    #[default]
    New,
    /// The current stage waits for a worker, not before `run_at` if there is one.
    Waiting {
        run_at: Option<Timestamp>,
    },
    /// A worker holds the current stage.
    Running,
    /// The current stage failed and waits for its next attempt.
    Retrying {
        retry_at: Timestamp,
    },
    Completed,
    Failed,
    Cancelled,
}

/// A job's phase as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Scheduled,
    Queued,
    Running,
    Retrying,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Nothing more happens by itself.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Scheduled | Self::Queued | Self::Running | Self::Retrying => false,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Job {
    /// The status at time `at`; None for a job that does not exist.
    ///
    /// A scheduled job is queued once its time has come, without any event.
    pub fn status(&self, at: Timestamp) -> Option<Status> {
        match self.phase {
            Phase::New => None,
            Phase::Waiting { run_at: Some(run_at) } if run_at > at => Some(Status::Scheduled),
            Phase::Waiting { .. } => {
                Some(if self.outputs.is_empty() { Status::Queued } else { Status::Running })
            }
            Phase::Running => Some(Status::Running),
            Phase::Retrying { .. } => Some(Status::Retrying),
            Phase::Completed => Some(Status::Completed),
            Phase::Failed => Some(Status::Failed),
            Phase::Cancelled => Some(Status::Cancelled),
        }
    }

    pub fn is_terminal(&self) -> bool {
        match self.phase {
            Phase::Completed | Phase::Failed | Phase::Cancelled => true,
            Phase::New | Phase::Waiting { .. } | Phase::Running | Phase::Retrying { .. } => false,
        }
    }

    /// The stage that runs or waits, as planned.
    pub fn current(&self) -> Option<&PlannedStage> {
        self.submitted.as_ref()?.plan.get(self.stage)
    }
}
