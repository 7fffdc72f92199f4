//! What happened to each job, told by the simplest rules that can be written.

use std::collections::BTreeMap;
use std::fmt;

use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, StreamId};
use quillwork_domain::time::Timestamp;
use serde_json::Value;

/// All jobs of a log.
#[derive(Debug, Default)]
pub(super) struct Stories {
    pub(super) jobs: BTreeMap<JobId, Story>,
    /// What cannot have happened and did.
    pub(super) findings: Vec<String>,
    /// How often a stage was started, completed, failed and retried, by its name.
    pub(super) stages: BTreeMap<String, [u64; 4]>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Scheduled,
    Queued,
    Running,
    Retrying,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    pub(super) const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    pub(super) fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Status {
    /// As the API writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// One job.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) tenant: String,
    pub(super) key: Option<String>,
    pub(super) version: u64,
    pub(super) status: Status,
    /// The names of its stages.
    plan: Vec<String>,
    /// How many of them have their result.
    pub(super) done: usize,
    /// The last start of the current stage, and whether that attempt still runs.
    pub(super) attempt: u64,
    runs: bool,
    /// The current stage must not start earlier.
    not_before: Option<Timestamp>,
    /// The event that must be the next one, because one commit wrote both.
    demanded: Option<&'static str>,
}

impl Stories {
    pub(super) fn of(log: &[Recorded]) -> Self {
        let mut stories = Self::default();
        for event in log {
            let StreamId::Job(job) = event.stream else { continue };
            let mut wrong = Vec::new();
            match serde_json::from_slice::<Value>(&event.data) {
                Ok(data) => stories.tell(job, event, &data, &mut wrong),
                Err(error) => wrong.push(format!("its data is not JSON: {error}")),
            }
            let found = wrong
                .into_iter()
                .map(|wrong| format!("{} at position {} of job {job}: {wrong}", event.kind, event.position));
            stories.findings.extend(found);
        }
        for (job, story) in &stories.jobs {
            if let Some(demanded) = story.demanded {
                stories
                    .findings
                    .push(format!("job {job} lacks the {demanded} that belongs to its last event"));
            }
        }
        stories
    }

    fn tell(&mut self, job: JobId, event: &Recorded, data: &Value, wrong: &mut Vec<String>) {
        if let Some(counter) = match &*event.kind {
            "StageStarted" => Some(0),
            "StageCompleted" => Some(1),
            "StageFailed" => Some(2),
            _ => None,
        } {
            let counters = self.stages.entry(text(data, "stage")).or_default();
            counters[counter] += 1;
            counters[3] += u64::from(counter == 2 && data.get("retry_at").is_some());
        }
        match self.jobs.get_mut(&job) {
            None if event.kind == "JobSubmitted" => {
                self.jobs.insert(job, Story::begin(event, data));
            }
            None => wrong.push("the job does not exist".into()),
            Some(story) => {
                story.version = event.version.0;
                story.go_on(event, data, wrong);
            }
        }
    }
}

impl Story {
    fn begin(event: &Recorded, data: &Value) -> Self {
        let plan = data["plan"].as_array().into_iter().flatten().map(|stage| text(stage, "name")).collect();
        let not_before = time(data, "run_at");
        Self {
            tenant: event.meta.tenant.as_ref().to_owned(),
            key: data["idempotency_key"].as_str().map(str::to_owned),
            version: event.version.0,
            status: if not_before.is_some() { Status::Scheduled } else { Status::Queued },
            plan,
            done: 0,
            attempt: 0,
            runs: false,
            not_before,
            demanded: None,
        }
    }

    fn go_on(&mut self, event: &Recorded, data: &Value, wrong: &mut Vec<String>) {
        let kind: &str = &event.kind;
        let demanded = self.demanded.take();
        if let Some(demanded) = demanded.filter(|demanded| *demanded != kind) {
            wrong.push(format!("{demanded} must come first"));
        }
        if self.status.is_terminal() && kind != "JobRetried" {
            wrong.push(format!("the job has ended: it is {}", self.status));
        }
        match kind {
            "StageStarted" => self.start(event, data, wrong),
            "StepRecorded" => {
                self.holds(data, wrong);
            }
            "StageCompleted" if self.holds(data, wrong) => {
                self.done += 1;
                (self.runs, self.attempt, self.not_before) = (false, 0, None);
                if self.done >= self.plan.len() {
                    self.demanded = Some("JobCompleted");
                }
            }
            "StageFailed" if self.holds(data, wrong) => {
                self.runs = false;
                self.not_before = time(data, "retry_at");
                if self.not_before.is_some() {
                    self.status = Status::Retrying;
                } else {
                    self.demanded = Some("JobFailed");
                }
            }
            // Wrong already, and without an effect.
            "StageCompleted" | "StageFailed" => {}
            "JobCompleted" => {
                if demanded.is_none() {
                    wrong.push("the last stage has no result right before it".into());
                }
                self.status = Status::Completed;
            }
            "JobFailed" => {
                let given_up = ["unknown_handler", "undecodable"];
                if demanded.is_none() && !given_up.contains(&data["error"]["class"].as_str().unwrap_or("")) {
                    wrong.push("no stage failed for good right before it".into());
                }
                (self.status, self.runs) = (Status::Failed, false);
            }
            "JobCancelled" => (self.status, self.runs) = (Status::Cancelled, false),
            "JobRetried" => {
                if !matches!(self.status, Status::Failed | Status::Cancelled) {
                    wrong.push(format!("the job is {}", self.status));
                }
                self.status = if self.done == 0 { Status::Queued } else { Status::Running };
                self.not_before = None;
            }
            "JobSubmitted" => wrong.push("the job exists already".into()),
            unknown => wrong.push(format!("{unknown} is no event of a job")),
        }
    }

    fn start(&mut self, event: &Recorded, data: &Value, wrong: &mut Vec<String>) {
        let (stage, attempt) = (text(data, "stage"), number(data, "attempt"));
        if self.runs {
            wrong.push(format!("attempt {} of it still runs", self.attempt));
        }
        if self.plan.get(self.done) != Some(&stage) {
            wrong.push(format!("the stage is {stage:?}, but {} of {:?} are done", self.done, self.plan));
        }
        if attempt != self.attempt + 1 {
            wrong.push(format!("attempt {attempt} follows attempt {}", self.attempt));
        }
        if let Some(due) = self.not_before.filter(|due| event.recorded_at < *due) {
            wrong.push(format!("it was due at {due} and started at {}", event.recorded_at));
        }
        (self.status, self.attempt, self.runs, self.not_before) = (Status::Running, attempt, true, None);
    }

    /// An effect is only of the attempt that was started last and has not ended.
    fn holds(&self, data: &Value, wrong: &mut Vec<String>) -> bool {
        let (stage, attempt) = (text(data, "stage"), number(data, "attempt"));
        let complaint = if self.plan.iter().take(self.done).any(|done| *done == stage) {
            format!("stage {stage:?} has its result already")
        } else if self.plan.get(self.done) != Some(&stage) {
            format!("the stage is {stage:?}, but {} of {:?} are done", self.done, self.plan)
        } else if attempt != self.attempt {
            format!("it is of attempt {attempt}, but attempt {} was started last", self.attempt)
        } else if !self.runs {
            format!("attempt {attempt} does not run")
        } else {
            return true;
        };
        wrong.push(complaint);
        false
    }
}

fn text(data: &Value, member: &str) -> String {
    data[member].as_str().unwrap_or_default().to_owned()
}

fn number(data: &Value, member: &str) -> u64 {
    data[member].as_u64().unwrap_or_default()
}

fn time(data: &Value, member: &str) -> Option<Timestamp> {
    data[member].as_str()?.parse().ok()
}
