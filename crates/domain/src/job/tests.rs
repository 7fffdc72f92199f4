//! Plans of a few stages, and words to speak of them.

mod budget;
mod groups;
mod lifecycle;
mod properties;

use std::sync::Arc;

use serde_json::value::RawValue;

use super::*;
use crate::id::Attempt;
use crate::money::Usd;
use crate::payload::Payload;
use crate::plan::{Backoff, Jitter, Plan, PlannedStage, StageIndex};
use crate::time::Timestamp;

fn fold(events: &[Event]) -> Job {
    events.iter().fold(Job::default(), evolve)
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn output(text: &str) -> Payload {
    Payload::inline(RawValue::from_string(format!("\"{text}\"")).unwrap()).unwrap()
}

fn stage(name: &str) -> PlannedStage {
    PlannedStage {
        name: name.into(),
        handler: "echo".into(),
        max_attempts: 3,
        timeout_ms: 1_000,
        backoff: Backoff { initial_ms: 100, factor: 2, max_ms: 1_000 },
        max_rate_limited: 5,
        max_lost: 2,
        beside_previous: false,
    }
}

fn beside(name: &str) -> PlannedStage {
    PlannedStage { beside_previous: true, ..stage(name) }
}

fn submitted() -> Event {
    submitted_with(vec![stage("first"), stage("second")])
}

fn submitted_with(stages: Vec<PlannedStage>) -> Event {
    Event::JobSubmitted(Arc::new(JobSubmitted::new(
        "topic".into(),
        "echo".into(),
        Plan::new(stages).unwrap(),
    )))
}

/// The same submission, which may cost this much.
fn with_budget(submitted: Event, max_cost_micros: Option<u64>) -> Event {
    let Event::JobSubmitted(submission) = submitted else { unreachable!() };
    let budget = max_cost_micros.map(|max_cost_micros| Budget { max_cost_micros });
    Event::JobSubmitted(Arc::new(JobSubmitted { budget, ..submission.as_ref().clone() }))
}

fn spent(cost_micros: u64) -> Spent {
    Spent {
        provider: "main".into(),
        model: "writer-1".into(),
        input_tokens: 10,
        output_tokens: 20,
        cost_micros,
        prices: None,
    }
}
