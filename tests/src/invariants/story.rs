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
    Paused,
}

impl Status {
    pub(super) const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Paused,
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
    /// Its stages, in the order of the plan.
    plan: Vec<Chapter>,
    /// Where the group begins that runs or waits, and how long it is.
    group: (usize, usize),
    round: u64,
    /// The event that must be the next one, because one commit wrote both.
    demanded: Option<&'static str>,
}

/// One stage.
#[derive(Clone, Debug, Default)]
struct Chapter {
    name: String,
    handler: String,
    /// It runs at the same time as the one before it.
    beside: bool,
    done: bool,
    /// The stage that its result sends the job back to.
    back: Option<String>,
    /// Its last start, and whether that attempt still runs.
    attempt: u64,
    runs: bool,
    /// It waits for another attempt.
    retries: bool,
    /// It waits for money.
    poor: bool,
    /// It must not start earlier.
    not_before: Option<Timestamp>,
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
            counters[3] += u64::from(counter == 2 && data.get("final").is_none());
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
        let not_before = time(data, "run_at");
        let stages = data["plan"].as_array().into_iter().flatten();
        let plan = stages
            .map(|stage| Chapter {
                name: text(stage, "name"),
                handler: text(stage, "handler"),
                beside: stage["beside_previous"].as_bool().unwrap_or(false),
                not_before,
                ..Chapter::default()
            })
            .collect();
        let mut story = Self {
            tenant: event.meta.tenant.as_ref().to_owned(),
            key: data["idempotency_key"].as_str().map(str::to_owned),
            version: event.version.0,
            status: if not_before.is_some() { Status::Scheduled } else { Status::Queued },
            plan,
            group: (0, 0),
            round: 1,
            demanded: None,
        };
        story.enter(0);
        story
    }

    /// How many of its stages have their result.
    pub(super) fn done(&self) -> usize {
        self.plan.iter().filter(|stage| stage.done).count()
    }

    /// Begins the group at `first`.
    fn enter(&mut self, first: usize) {
        let beside = self.plan.iter().skip(first + 1).take_while(|stage| stage.beside).count();
        self.group = (first, 1 + beside);
    }

    fn current(&mut self) -> &mut [Chapter] {
        let (first, len) = self.group;
        self.plan.get_mut(first..first + len).unwrap_or_default()
    }

    fn go_on(&mut self, event: &Recorded, data: &Value, wrong: &mut Vec<String>) {
        let kind: &str = &event.kind;
        let demanded = self.demanded.take();
        if let Some(demanded) = demanded.filter(|demanded| !demanded.split(" or ").any(|one| one == kind)) {
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
            "StageCompleted" => {
                if let Some(stage) = self.holds(data, wrong) {
                    (stage.done, stage.runs) = (true, false);
                    stage.back = data["rework"]["to"].as_str().map(str::to_owned);
                    self.after_result();
                }
            }
            "StageFailed" => {
                if let Some(stage) = self.holds(data, wrong) {
                    stage.runs = false;
                    stage.not_before = time(data, "retry_at");
                    stage.poor = data["class"] == "budget_exhausted";
                    stage.retries = stage.not_before.is_some() && !stage.poor;
                    if stage.poor {
                        // Without a time somebody must act first.
                        stage.not_before.get_or_insert(Timestamp::MAX);
                        self.look();
                        self.demanded = (self.status == Status::Paused).then_some("JobPaused");
                    } else if stage.retries {
                        self.look();
                    } else {
                        self.demanded = Some("JobFailed");
                    }
                }
            }
            "StagesReopened" => self.go_back(data, demanded, wrong),
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
                self.end(Status::Failed);
            }
            "JobPaused" if demanded.is_none() => {
                wrong.push("no stage ran out of money right before it".into());
            }
            "JobPaused" | "BudgetSet" => {}
            "JobResumed" => {
                if !self.plan.iter().any(|stage| stage.poor) {
                    wrong.push(format!("the job is {}", self.status));
                }
                for stage in self.plan.iter_mut().filter(|stage| stage.poor) {
                    (stage.poor, stage.not_before) = (false, None);
                }
                self.look();
            }
            "JobCancelled" => self.end(Status::Cancelled),
            "JobRetried" => {
                if !matches!(self.status, Status::Failed | Status::Cancelled) {
                    wrong.push(format!("the job is {}", self.status));
                }
                let in_vain = self.current().iter().all(|stage| stage.done);
                for stage in self.current() {
                    if in_vain && stage.back.is_some() {
                        (stage.done, stage.back) = (false, None);
                    }
                    (stage.retries, stage.not_before) = (false, None);
                }
                self.look();
            }
            "JobSubmitted" => wrong.push("the job exists already".into()),
            unknown => wrong.push(format!("{unknown} is no event of a job")),
        }
    }

    fn end(&mut self, status: Status) {
        self.status = status;
        self.plan.iter_mut().for_each(|stage| {
            (stage.runs, stage.retries, stage.poor) = (false, false, false);
        });
    }

    /// What a client is to see while the job has not ended.
    fn look(&mut self) {
        self.status = if self.plan.iter().any(|stage| stage.runs) {
            Status::Running
        } else if self.plan.iter().any(|stage| stage.retries) {
            Status::Retrying
        } else if self.rests() {
            Status::Paused
        } else if self.done() > 0 || self.round > 1 {
            Status::Running
        } else {
            Status::Queued
        };
    }

    /// True if something waits for money, and nothing else is left to do before.
    fn rests(&mut self) -> bool {
        let group = self.current();
        group.iter().any(|stage| stage.poor) && group.iter().all(|stage| stage.poor || stage.done)
    }

    /// A group is over when each of its stages has its result.
    fn after_result(&mut self) {
        let (first, len) = self.group;
        self.look();
        if !self.current().iter().all(|stage| stage.done) {
            self.demanded = (self.status == Status::Paused).then_some("JobPaused");
            return;
        }
        if self.current().iter().any(|stage| stage.back.is_some()) {
            self.demanded = Some("StagesReopened or JobFailed");
        } else if first + len >= self.plan.len() {
            self.demanded = Some("JobCompleted");
        } else {
            for stage in &mut self.plan[first + len..] {
                stage.not_before = None;
            }
            self.enter(first + len);
        }
    }

    /// The job begins anew at the group of the earliest stage that was asked for.
    fn go_back(&mut self, data: &Value, demanded: Option<&str>, wrong: &mut Vec<String>) {
        let (stage, round) = (text(data, "stage"), number(data, "round"));
        if !demanded.is_some_and(|demanded| demanded.starts_with("StagesReopened")) {
            wrong.push("no stage sent the job back right before it".into());
        }
        if round != self.round + 1 {
            wrong.push(format!("round {round} follows round {}", self.round));
        }
        let asked: Vec<String> = self.current().iter().filter_map(|stage| stage.back.clone()).collect();
        let before = &self.plan[..self.group.0];
        // A name is meant before a handler; of several with that handler, the nearest.
        let place_of = |asked: &String| {
            let named = before.iter().position(|stage| stage.name == *asked);
            named.or_else(|| before.iter().rposition(|stage| stage.handler == *asked))
        };
        let earliest = asked.iter().filter_map(place_of).min();
        let Some(place) = earliest.filter(|place| self.plan[*place].name == stage) else {
            wrong.push(format!("it goes back to {stage:?}, and {asked:?} were asked for"));
            return;
        };
        let first = (0..=place).rev().find(|place| !self.plan[*place].beside).unwrap_or(0);
        for stage in &mut self.plan[first..] {
            *stage = Chapter {
                name: stage.name.clone(),
                handler: stage.handler.clone(),
                beside: stage.beside,
                attempt: stage.attempt,
                ..Chapter::default()
            };
        }
        self.round = round;
        self.enter(first);
        self.look();
    }

    fn start(&mut self, event: &Recorded, data: &Value, wrong: &mut Vec<String>) {
        let (name, attempt) = (text(data, "stage"), number(data, "attempt"));
        let done = self.done();
        let plan: Vec<String> = self.plan.iter().map(|stage| stage.name.clone()).collect();
        let Some(stage) = self.current().iter_mut().find(|stage| stage.name == name && !stage.done) else {
            wrong.push(format!("the stage is {name:?}, but {done} of {plan:?} are done"));
            return;
        };
        if stage.runs {
            wrong.push(format!("attempt {} of it still runs", stage.attempt));
        }
        if attempt != stage.attempt + 1 {
            wrong.push(format!("attempt {attempt} follows attempt {}", stage.attempt));
        }
        if let Some(due) = stage.not_before.filter(|due| event.recorded_at < *due) {
            wrong.push(format!("it was due at {due} and started at {}", event.recorded_at));
        }
        (stage.attempt, stage.runs, stage.retries, stage.not_before) = (attempt, true, false, None);
        stage.poor = false;
        self.look();
    }

    /// The stage, if the event is of its attempt that was started last and has not ended.
    fn holds(&mut self, data: &Value, wrong: &mut Vec<String>) -> Option<&mut Chapter> {
        let (name, attempt) = (text(data, "stage"), number(data, "attempt"));
        let done = self.done();
        let is_done = self.plan.iter().any(|stage| stage.name == name && stage.done);
        let plan: Vec<String> = self.plan.iter().map(|stage| stage.name.clone()).collect();
        let complaint = match self.current().iter_mut().find(|stage| stage.name == name) {
            Some(_) | None if is_done => format!("stage {name:?} has its result already"),
            None => format!("the stage is {name:?}, but {done} of {plan:?} are done"),
            Some(stage) if attempt != stage.attempt => {
                format!("it is of attempt {attempt}, but attempt {} was started last", stage.attempt)
            }
            Some(stage) if !stage.runs => format!("attempt {attempt} does not run"),
            Some(_) => return self.current().iter_mut().find(|stage| stage.name == name),
        };
        wrong.push(complaint);
        None
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
