//! Shapes as `/openapi.json` describes them.
//!
//! These types are never built. Tests compare them with what the API really writes, so that they cannot drift.
#![allow(dead_code, reason = "only their descriptions are used")]

mod content;
mod money;
mod params;
mod problems;
mod queues;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

pub(crate) use content::{Content, ContentPage, ContentQuery, NewRating, NewViews, Noted};
pub(crate) use money::{Cost, CostQuery, JobCost, Pause, SetBudget, Usage, UsagePage, UsageQuery};
pub(crate) use params::{
    CallerHeaders, EventsQuery, JobPath, ListQuery, MinPosition, QueuePath, Resume, ShowQuery,
};
pub(crate) use problems::{
    BodyProblems, CommandProblems, Problem, ReadProblems, StateForbids, UnknownJob, UnknownQueue,
};
pub(crate) use queues::{ControlledQueue, LimitQueue, PauseQueue, Queue, QueuePage};

/// A job to submit.
#[derive(ToSchema)]
pub(crate) struct NewJob {
    /// What to write about: 1 to 2,000 characters, not all blank, no control characters.
    #[schema(min_length = 1, max_length = 2000, example = "The history of tea")]
    topic: String,
    /// One of `/v1/pipelines`; the default pipeline if left out.
    pipeline: Option<String>,
    /// One member per stage handler of the pipeline; at most 64 KiB.
    #[schema(value_type = Option<Object>)]
    settings: Option<()>,
    /// Higher runs earlier.
    #[schema(minimum = -100, maximum = 100, default = 0)]
    priority: Option<i16>,
    /// Not before this time.
    #[schema(format = DateTime)]
    run_at: Option<String>,
    /// At most 32; keys of 1 to 64 of the characters `a-z0-9._/-`, values of at most 256 characters.
    labels: Option<BTreeMap<String, String>>,
    /// For the jobs of a batch: 1 to 255 visible ASCII characters.
    #[schema(min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
    budget: Option<SetBudget>,
}

/// Jobs to submit at once.
#[derive(ToSchema)]
pub(crate) struct NewJobs {
    #[schema(min_items = 1, max_items = 1000)]
    jobs: Vec<NewJob>,
}

#[derive(ToSchema)]
pub(crate) struct Cancel {
    /// For the record; at most 1,000 characters.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Status {
    Scheduled,
    Queued,
    Running,
    Retrying,
    Completed,
    Failed,
    Cancelled,
    Paused,
}

/// Where to find what belongs to a job.
#[derive(Serialize, ToSchema)]
pub(crate) struct Links {
    #[schema(rename = "self")]
    itself: String,
    events: String,
    stream: String,
    result: String,
}

#[derive(ToSchema)]
pub(crate) struct Submitted {
    id: Uuid,
    status: Status,
    /// Give it as `min_position` to a query that must show this job.
    position: u64,
    links: Links,
}

#[derive(ToSchema)]
pub(crate) struct SubmittedBatch {
    /// In the order of the request.
    jobs: Vec<BatchItem>,
    /// Of the last job that was accepted; null if none was.
    position: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum BatchItem {
    Accepted {
        id: Uuid,
        status: Status,
        position: u64,
        links: Links,
        /// The idempotency key was used before; this is the job it made then.
        replayed: bool,
    },
    Refused {
        problem: Problem,
    },
}

#[derive(ToSchema)]
pub(crate) struct Changed {
    id: Uuid,
    status: Status,
    position: u64,
}

#[derive(ToSchema)]
pub(crate) struct Job {
    id: Uuid,
    status: Status,
    topic: String,
    pipeline: String,
    /// The stage that runs or waits, of several the first without a result; the last one once the job is completed.
    stage: Option<String>,
    /// How often that stage was started.
    attempt: u32,
    /// Who runs that stage now.
    worker: Option<String>,
    /// Since when.
    #[schema(format = DateTime)]
    stage_started_at: Option<String>,
    progress: Progress,
    /// Counts from 1; one more each time that a stage sent the job back.
    round: u32,
    /// The stages that run at the same time, if there are several.
    group: Option<Vec<GroupStage>>,
    #[schema(format = DateTime)]
    submitted_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    error: Option<JobError>,
    labels: BTreeMap<String, String>,
    version: u64,
    position: u64,
    priority: i16,
    #[schema(format = DateTime)]
    run_at: Option<String>,
    #[schema(format = DateTime)]
    retry_at: Option<String>,
    #[schema(format = DateTime)]
    updated_at: String,
    /// The `X-Tenant` of the submission.
    tenant: String,
    /// The names of all stages, in order.
    stages: Vec<String>,
    usage: Option<Usage>,
    submitted_position: u64,
    /// Why the job waits for money, while it is paused.
    pause: Option<Pause>,
    cost: Cost,
    links: Links,
}

/// One of several stages that run at the same time.
#[derive(ToSchema)]
pub(crate) struct GroupStage {
    stage_index: u32,
    stage: String,
    state: StageState,
    attempt: u32,
    worker: Option<String>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    retry_at: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum StageState {
    Waiting,
    Running,
    Retrying,
    Parked,
    Completed,
    SentBack,
    Stopped,
}

/// Completed stages.
#[derive(ToSchema)]
pub(crate) struct Progress {
    done: u32,
    total: u32,
}

/// Why a job failed.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobError {
    class: String,
    message: String,
    stage: String,
    attempt: u32,
}

#[derive(ToSchema)]
pub(crate) struct JobPage {
    items: Vec<Job>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// An attempt of a stage.
#[derive(ToSchema)]
pub(crate) struct TimelineEntry {
    stage_index: u32,
    stage: String,
    attempt: u32,
    worker: Option<String>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    outcome: Outcome,
    class: Option<String>,
    error: Option<String>,
    #[schema(format = DateTime)]
    retry_at: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Running,
    Completed,
    Failed,
    Lost,
    Released,
    Cancelled,
}

#[derive(ToSchema)]
pub(crate) struct Timeline {
    items: Vec<TimelineEntry>,
    next_cursor: Option<String>,
}

/// An event as it is recorded.
#[derive(ToSchema)]
pub(crate) struct Event {
    /// In the whole log, from 1, without a gap but where jobs were archived.
    position: u64,
    /// `job-<uuid>`, or `queues` for what operators did to the queues, or `archive` for which jobs left the log.
    stream: String,
    /// In the stream, from 1, without a gap.
    version: u64,
    id: Uuid,
    kind: String,
    schema_version: u16,
    #[schema(format = DateTime)]
    recorded_at: String,
    actor: String,
    tenant: String,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    traceparent: Option<String>,
    /// SHA-256, linked to the event before.
    hash: String,
    #[schema(value_type = Object)]
    data: (),
}

#[derive(ToSchema)]
pub(crate) struct EventPage {
    items: Vec<Event>,
    next_cursor: Option<String>,
}

/// What a job wrote.
#[derive(ToSchema)]
pub(crate) struct Article {
    title: String,
    /// Ends with a `## Sources` section.
    markdown: String,
    sources: Vec<CitedSource>,
    /// How it was written, for example `extractive`.
    method: String,
    model: Option<String>,
    usage: Option<Usage>,
}

/// A source that an article cites.
#[derive(ToSchema)]
pub(crate) struct CitedSource {
    n: u32,
    title: String,
    path: Option<String>,
    url: Option<String>,
    /// First and last line of each quote's passage.
    lines: Vec<Vec<u32>>,
    quotes: Vec<String>,
}

#[derive(ToSchema)]
pub(crate) struct Pipelines {
    default_pipeline: String,
    items: Vec<Pipeline>,
    next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct Pipeline {
    name: String,
    stages: Vec<PlannedStage>,
}

#[derive(ToSchema)]
pub(crate) struct PlannedStage {
    name: String,
    handler: String,
    max_attempts: u32,
    timeout_ms: u64,
    backoff: Backoff,
    max_rate_limited: u32,
    max_lost: u32,
    /// It runs at the same time as the stage before it; absent for false.
    beside_previous: Option<bool>,
}

#[derive(ToSchema)]
pub(crate) struct Backoff {
    initial_ms: u64,
    factor: u32,
    max_ms: u64,
}

#[derive(ToSchema)]
pub(crate) struct Stats {
    jobs: JobCounts,
    /// The last event that is counted.
    position: u64,
    /// The last event of the log.
    head: u64,
    /// By the name of the stage.
    stages: HashMap<String, StageCounts>,
}

/// Jobs by their status now, and how many were ever submitted.
#[derive(ToSchema)]
pub(crate) struct JobCounts {
    submitted: u64,
    scheduled: u64,
    queued: u64,
    running: u64,
    retrying: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    paused: u64,
}

/// Attempts of a stage.
#[derive(ToSchema)]
pub(crate) struct StageCounts {
    started: u64,
    completed: u64,
    failed: u64,
    /// Those of the failed that were given another attempt.
    retried: u64,
}

#[derive(ToSchema)]
pub(crate) struct Alive {
    status: String,
    version: String,
}

#[derive(ToSchema)]
pub(crate) struct Ready {
    ready: bool,
    reasons: Vec<String>,
    head: u64,
    /// null in a process that has nothing to do with the read models.
    position: Option<u64>,
    lag: Option<u64>,
}
