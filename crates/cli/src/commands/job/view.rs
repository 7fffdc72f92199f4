//! A job and its events as the server shows them.

use quillwork_domain::id::JobId;
use quillwork_domain::job::{JobError, Status};
use quillwork_domain::money::Usd;
use quillwork_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::Server;
use crate::output;

/// A job, as far as people look at it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct JobView {
    pub(super) id: JobId,
    pub(super) status: Status,
    pub(super) topic: String,
    pub(super) pipeline: String,
    #[serde(default)]
    pub(super) tenant: Option<String>,
    pub(super) stage: Option<String>,
    pub(super) attempt: u32,
    pub(super) progress: Progress,
    pub(super) submitted_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) error: Option<JobError>,
    #[serde(default)]
    pub(super) labels: std::collections::BTreeMap<String, String>,
    pub(super) version: u64,
    pub(super) position: u64,
    /// Absent on a server from before budgets.
    #[serde(default)]
    pub(super) cost: Option<Cost>,
    #[serde(default)]
    pub(super) pause: Option<Pause>,
}

/// What a job has cost, and how much it may, as decimals.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Cost {
    pub(super) spent_usd: String,
    pub(super) budget_usd: Option<String>,
}

impl Cost {
    /// In a few words.
    pub(super) fn gist(&self) -> String {
        match &self.budget_usd {
            Some(budget) => format!("{} of {budget} USD", self.spent_usd),
            None => format!("{} USD", self.spent_usd),
        }
    }
}

/// Why a job waits for money.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pause {
    reason: String,
    until: Option<Timestamp>,
}

impl Pause {
    fn gist(&self) -> String {
        match self.until {
            Some(until) => format!("{}, until {until}", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// Completed stages.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) total: u64,
}

/// The answer to a command.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Acknowledged {
    pub(super) id: JobId,
    pub(super) status: Status,
    pub(super) position: u64,
}

/// An event, as far as people look at it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EventView {
    pub(super) position: u64,
    pub(super) version: u64,
    pub(super) kind: String,
    pub(super) recorded_at: Timestamp,
    pub(super) actor: String,
    pub(super) data: Value,
}

impl EventView {
    /// A text member of the data; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.data.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The attempt that the event is about; 0 if it is about none.
    pub(super) fn attempt(&self) -> u64 {
        self.data.get("attempt").and_then(Value::as_u64).unwrap_or_default()
    }

    /// What the event says, in a few words.
    pub(super) fn gist(&self) -> String {
        let stage = self.text("stage");
        let attempt = self.attempt();
        match self.kind.as_str() {
            "JobSubmitted" => format!("{:?} as {}", self.text("topic"), self.text("pipeline")),
            "StageStarted" => format!("{stage}, attempt {attempt}, by {}", self.text("worker")),
            "StepRecorded" => format!("{stage}, attempt {attempt}: {}", self.text("step_key")),
            "StageCompleted" => format!("{stage}, attempt {attempt}"),
            "StageFailed" => {
                let next = match self.data.get("retry_at").and_then(Value::as_str) {
                    Some(retry_at) => format!("again at {retry_at}"),
                    None if self.text("class") == "budget_exhausted" => "waits for money".to_owned(),
                    None => "for good".to_owned(),
                };
                format!("{stage}, attempt {attempt}: {}: {}; {next}", self.text("class"), self.text("error"))
            }
            "JobFailed" => {
                let error = |name: &str| {
                    self.data.pointer(name).and_then(Value::as_str).unwrap_or_default().to_owned()
                };
                format!("{}: {}", error("/error/class"), error("/error/message"))
            }
            "JobCancelled" => self.text("reason").to_owned(),
            "JobRetried" => stage.to_owned(),
            "JobPaused" => match self.text("until") {
                "" => self.text("reason").to_owned(),
                until => format!("{}, until {until}", self.text("reason")),
            },
            "BudgetSet" => {
                let micros = self.data.get("max_cost_micros").and_then(Value::as_u64);
                format!("{} USD", Usd(micros.unwrap_or_default()))
            }
            // An event kind of a newer server has no gist that we know.
            _ => String::new(),
        }
    }
}

impl JobView {
    /// What the error says, on one line.
    pub(super) fn error_line(&self) -> String {
        let line = |error: &JobError| {
            format!("{}: {} (stage {}, attempt {})", error.class, error.message, error.stage, error.attempt)
        };
        self.error.as_ref().map(line).unwrap_or_default()
    }

    /// Prints everything, one name and value a line.
    pub(super) fn print(&self) -> anyhow::Result<()> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let labels: Vec<String> = self.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let rows = [
            ("id", Some(self.id.to_string())),
            ("status", Some(self.status.to_string())),
            ("topic", Some(self.topic.clone())),
            ("pipeline", Some(self.pipeline.clone())),
            // Where there is only one tenant its name says nothing.
            ("tenant", self.tenant.clone().filter(|tenant| tenant != "default")),
            ("stages", Some(format!("{} of {} done", self.progress.done, self.progress.total))),
            ("stage", self.stage.clone().map(|stage| format!("{stage}, attempt {}", self.attempt))),
            ("submitted", Some(self.submitted_at.to_string())),
            ("started", time(self.started_at)),
            ("finished", time(self.finished_at)),
            ("labels", Some(labels.join(", ")).filter(|labels| !labels.is_empty())),
            ("error", Some(self.error_line()).filter(|error| !error.is_empty())),
            ("paused", self.pause.as_ref().map(Pause::gist)),
            (
                "cost",
                // Where nothing is paid for it says nothing.
                self.cost
                    .as_ref()
                    .filter(|cost| cost.spent_usd != "0.00" || cost.budget_usd.is_some())
                    .map(Cost::gist),
            ),
            ("position", Some(self.position.to_string())),
        ];
        output::pairs(rows.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}

/// The whole history of a job.
pub(super) async fn history(server: &Server, id: JobId) -> anyhow::Result<Vec<Value>> {
    let url = server.url(&["v1", "jobs", &id.to_string(), "events"]);
    let answer: Value = server.get(url).await?;
    match answer {
        Value::Array(events) => Ok(events),
        Value::Object(mut page) => match page.remove("items").or_else(|| page.remove("events")) {
            Some(Value::Array(events)) => Ok(events),
            Some(_) | None => anyhow::bail!("the history of job {id} is not what was expected"),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            anyhow::bail!("the history of job {id} is not what was expected")
        }
    }
}
