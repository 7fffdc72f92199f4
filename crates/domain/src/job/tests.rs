//! A plan of two stages, and words to speak of it.

mod lifecycle;
mod properties;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::*;
use crate::id::Attempt;
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

fn plan() -> Plan {
    let stage = |name: &str| PlannedStage {
        name: name.into(),
        handler: "echo".into(),
        max_attempts: 3,
        timeout_ms: 1_000,
        backoff: Backoff { initial_ms: 100, factor: 2, max_ms: 1_000 },
        max_rate_limited: 5,
        max_lost: 2,
    };
    Plan::new(vec![stage("first"), stage("second")]).unwrap()
}

fn submitted() -> Event {
    Event::JobSubmitted(Arc::new(JobSubmitted {
        topic: "topic".into(),
        pipeline: "echo".into(),
        plan: plan(),
        settings: None,
        priority: 0,
        run_at: None,
        labels: BTreeMap::new(),
        idempotency_key: None,
        request_digest: None,
    }))
}
