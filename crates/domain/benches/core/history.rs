//! The job that is measured: two echo stages, each returning a kilobyte, six events.

use std::sync::Arc;

use quillwork_domain::chain;
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::job::{Command, Event, Job, JobSubmitted, decide, evolve};
use quillwork_domain::payload::Payload;
use quillwork_domain::plan::{Backoff, Plan, PlannedStage, StageIndex};
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use uuid::Uuid;

/// What makes a job happen, in order.
pub(crate) fn commands() -> Vec<(&'static str, Command)> {
    let start = |stage| Command::StartStage {
        stage: StageIndex(stage),
        worker: "worker".into(),
        at: Timestamp::from_millis(1),
    };
    let complete = |stage| Command::CompleteStage {
        stage: StageIndex(stage),
        attempt: Attempt(1),
        output: kilobyte(),
        usage: None,
        rework: None,
    };
    vec![
        ("submit", Command::Submit(Arc::new(submission()))),
        ("start", start(0)),
        ("complete", complete(0)),
        ("start again", start(1)),
        ("complete the last", complete(1)),
    ]
}

/// The events of one job.
pub(crate) fn events() -> Vec<Event> {
    let mut job = Job::default();
    let mut events = Vec::new();
    for (_, command) in commands() {
        for event in decide(&job, command).unwrap() {
            job = evolve(job, &event);
            events.push(event);
        }
    }
    events
}

/// A log of this many jobs, one after the other.
pub(crate) fn log(n_jobs: u64) -> Vec<Recorded> {
    let mut log = Vec::new();
    let mut previous = chain::GENESIS;
    for n in 0..n_jobs {
        for (index, event) in events().iter().enumerate() {
            let encoded = wire::encode(event).unwrap();
            let mut recorded = Recorded {
                position: Position(log.len() as u64 + 1),
                stream: JobId(Uuid::from_u128(u128::from(n) + 1)).into(),
                version: Version(index as u64 + 1),
                event_id: Uuid::now_v7(),
                kind: encoded.kind.into(),
                schema_version: encoded.schema_version,
                data: encoded.data,
                meta: Meta {
                    actor: "worker".into(),
                    tenant: "default".into(),
                    correlation_id: Uuid::now_v7(),
                    causation_id: Some(Uuid::now_v7()),
                    traceparent: None,
                },
                recorded_at: Timestamp::from_millis(1_700_000_000_123),
                hash: chain::GENESIS,
            };
            recorded.hash = chain::link(&previous, &recorded);
            previous = recorded.hash;
            log.push(recorded);
        }
    }
    log
}

fn submission() -> JobSubmitted {
    let stage = |name: &str| PlannedStage {
        name: name.into(),
        handler: "echo".into(),
        max_attempts: 3,
        timeout_ms: 60_000,
        backoff: Backoff { initial_ms: 1_000, factor: 2, max_ms: 60_000 },
        max_rate_limited: 100,
        max_lost: 20,
        beside_previous: false,
    };
    JobSubmitted::new(
        "x".repeat(120),
        "echo".into(),
        Plan::new(vec![stage("first"), stage("second")]).unwrap(),
    )
}

fn kilobyte() -> Payload {
    Payload::inline(serde_json::value::to_raw_value(&"x".repeat(1_022)).unwrap()).unwrap()
}
