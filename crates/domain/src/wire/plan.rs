//! The plan of a stored job. Every job has one, and hardly any has a policy of its own: a stage whose policy is the
//! standard one is a name and a handler.
//!
//! Schema version 1 of `JobSubmitted` states every policy, but for limits that did not exist when it was written.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::{Backoff, Plan, PlannedStage};

/// What a policy that is left out stands for. Frozen: stored jobs depend on it, whatever configurations default to.
const STANDARD: Policy = Policy {
    max_attempts: 3,
    timeout_ms: 300_000,
    backoff: Backoff { initial_ms: 1_000, factor: 2, max_ms: 60_000 },
    max_rate_limited: 10_000,
    max_lost: 20,
};

/// The limits of a stage whose policy is from before they existed.
const MAX_RATE_LIMITED_BEFORE: u32 = 100;
const MAX_LOST_BEFORE: u32 = 20;

#[derive(PartialEq, Eq)]
struct Policy {
    max_attempts: u32,
    timeout_ms: u64,
    backoff: Backoff,
    max_rate_limited: u32,
    max_lost: u32,
}

/// A stage as JSON: all of its policy, or nothing of it.
#[derive(Serialize, Deserialize)]
struct StoredStage<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    handler: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<Backoff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_rate_limited: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_lost: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    beside_previous: bool,
}

impl<'a> StoredStage<'a> {
    fn of(stage: &'a PlannedStage) -> Self {
        let PlannedStage {
            name,
            handler,
            max_attempts,
            timeout_ms,
            backoff,
            max_rate_limited,
            max_lost,
            beside_previous,
        } = stage;
        let policy = Policy {
            max_attempts: *max_attempts,
            timeout_ms: *timeout_ms,
            backoff: *backoff,
            max_rate_limited: *max_rate_limited,
            max_lost: *max_lost,
        };
        let stated = (policy != STANDARD).then_some(policy);
        Self {
            name: Cow::Borrowed(name),
            handler: Cow::Borrowed(handler),
            max_attempts: stated.as_ref().map(|policy| policy.max_attempts),
            timeout_ms: stated.as_ref().map(|policy| policy.timeout_ms),
            backoff: stated.as_ref().map(|policy| policy.backoff),
            max_rate_limited: stated.as_ref().map(|policy| policy.max_rate_limited),
            max_lost: stated.as_ref().map(|policy| policy.max_lost),
            beside_previous: *beside_previous,
        }
    }

    /// An error says which member is missing.
    fn planned(self) -> Result<PlannedStage, &'static str> {
        let policy = match (self.max_attempts, self.timeout_ms, self.backoff) {
            (None, None, None) => STANDARD,
            (max_attempts, timeout_ms, backoff) => Policy {
                max_attempts: max_attempts.ok_or("max_attempts")?,
                timeout_ms: timeout_ms.ok_or("timeout_ms")?,
                backoff: backoff.ok_or("backoff")?,
                max_rate_limited: self.max_rate_limited.unwrap_or(MAX_RATE_LIMITED_BEFORE),
                max_lost: self.max_lost.unwrap_or(MAX_LOST_BEFORE),
            },
        };
        Ok(PlannedStage {
            name: self.name.into_owned(),
            handler: self.handler.into(),
            max_attempts: policy.max_attempts,
            timeout_ms: policy.timeout_ms,
            backoff: policy.backoff,
            max_rate_limited: policy.max_rate_limited,
            max_lost: policy.max_lost,
            beside_previous: self.beside_previous,
        })
    }
}

pub(crate) fn serialize<S: Serializer>(plan: &Plan, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(plan.stages().iter().map(StoredStage::of))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Plan, D::Error> {
    let stored = Vec::<StoredStage<'_>>::deserialize(deserializer)?;
    let stages: Result<Vec<_>, _> = stored.into_iter().map(StoredStage::planned).collect();
    stages.map(Plan::accepted).map_err(serde::de::Error::missing_field)
}
