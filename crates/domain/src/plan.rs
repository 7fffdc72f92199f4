//! What a job will do: its stages in order, each with its handler and its policy. Neighbours may form a group, whose
//! stages run at the same time.
//!
//! A plan is data in `JobSubmitted`, so that a changed configuration never changes a running job.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A plan holds at most this many stages.
pub const MAX_STAGES: usize = 32;

/// The stages of a job, in order. Never empty. Cheap to clone: the jobs of a pipeline share it. Serialized as clients see
/// it, with everything; what is stored is in [`crate::wire`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Plan {
    stages: Arc<[PlannedStage]>,
}

/// One stage of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PlannedStage {
    /// Unique in its plan; what events name.
    pub name: String,
    /// Which stage handler does the work.
    pub handler: Arc<str>,
    /// How many times the stage may fail by its own fault before the job fails.
    pub max_attempts: u32,
    /// An attempt that takes longer is stopped and counts as failed.
    pub timeout_ms: u64,
    pub backoff: Backoff,
    /// How many times a provider may turn an attempt away for its rate; these do not count as failures.
    pub max_rate_limited: u32,
    /// How many times a worker may be lost (killed, out of memory) while it holds the stage; these do not count as
    /// failures, but a stage that kills every worker must end.
    pub max_lost: u32,
    /// The stage runs at the same time as the one before it, and sees what that one sees.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub beside_previous: bool,
}

/// Exponential backoff with full jitter: before retry `n` a random share of `initial_ms * factor^(n-1)`, at most `max_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backoff {
    pub initial_ms: u64,
    pub factor: u32,
    pub max_ms: u64,
}

impl Backoff {
    /// The longest wait before retry `n`, counted from 1.
    pub fn ceiling(self, n: u32) -> Duration {
        let exponent = n.saturating_sub(1).min(63);
        let grown = self.initial_ms.saturating_mul(u64::from(self.factor.max(1)).saturating_pow(exponent));
        Duration::from_millis(grown.min(self.max_ms))
    }

    /// The wait before retry `n`: the ceiling, scaled by `jitter`.
    pub fn delay(self, n: u32, jitter: Jitter) -> Duration {
        let millis = u128::from(u64::try_from(self.ceiling(n).as_millis()).unwrap_or(u64::MAX));
        let scaled = millis * u128::from(jitter.0) / u128::from(u16::MAX);
        Duration::from_millis(u64::try_from(scaled).unwrap_or(u64::MAX))
    }
}

/// A random share between nothing (0) and everything (65535), drawn outside the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jitter(pub u16);

/// A plan that no job may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    #[error("a plan needs at least one stage")]
    Empty,
    #[error("a plan has at most {MAX_STAGES} stages, got {0}")]
    TooLong(usize),
    #[error("two stages are named {0:?}; stage names are unique within a plan")]
    DuplicateName(String),
    #[error("stage name {0:?}: use 1 to 64 of the characters a-z, 0-9, '-' and '_'")]
    BadName(String),
    #[error("stage {stage:?}: {field} must be at least 1")]
    Zero { stage: String, field: &'static str },
    #[error("stage {0:?}: beside_previous needs a stage before it, and this is the first")]
    BesideNothing(String),
}

impl Plan {
    /// Checks and takes the stages.
    pub fn new(stages: Vec<PlannedStage>) -> Result<Self, InvalidPlan> {
        if stages.is_empty() {
            return Err(InvalidPlan::Empty);
        }
        if stages.len() > MAX_STAGES {
            return Err(InvalidPlan::TooLong(stages.len()));
        }
        let mut names = BTreeSet::new();
        for stage in &stages {
            if !is_name(&stage.name) {
                return Err(InvalidPlan::BadName(stage.name.clone()));
            }
            if !names.insert(&stage.name) {
                return Err(InvalidPlan::DuplicateName(stage.name.clone()));
            }
            for (field, value) in
                [("max_attempts", u64::from(stage.max_attempts)), ("timeout_ms", stage.timeout_ms)]
            {
                if value == 0 {
                    return Err(InvalidPlan::Zero { stage: stage.name.clone(), field });
                }
            }
        }
        if let Some(first) = stages.first().filter(|first| first.beside_previous) {
            return Err(InvalidPlan::BesideNothing(first.name.clone()));
        }
        Ok(Self { stages: stages.into() })
    }

    /// Takes the stages of a stored plan, which is not checked again: later rules are not for it.
    pub(crate) fn accepted(stages: Vec<PlannedStage>) -> Self {
        Self { stages: stages.into() }
    }

    pub fn stages(&self) -> &[PlannedStage] {
        &self.stages
    }

    pub fn get(&self, index: StageIndex) -> Option<&PlannedStage> {
        self.stages.get(index.place())
    }

    pub fn len(&self) -> usize {
        self.stages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The places of the stages that run at the same time as `stage`, itself included; empty if there is no such stage.
    pub fn group(&self, stage: StageIndex) -> Range<usize> {
        let at = stage.place();
        if at >= self.stages.len() {
            return at..at;
        }
        let first = self.stages[..=at].iter().rposition(|stage| !stage.beside_previous).unwrap_or(0);
        let beside = self.stages[at + 1..].iter().take_while(|stage| stage.beside_previous).count();
        first..at + 1 + beside
    }

    /// Where the stage called `name` stands.
    pub fn index_of(&self, name: &str) -> Option<StageIndex> {
        let index = self.stages.iter().position(|stage| stage.name == name)?;
        Some(StageIndex::at(index))
    }
}

/// True for 1 to 64 of the characters `a-z`, `0-9`, `-` and `_`.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// The place of a stage in its plan, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageIndex(pub u16);

impl StageIndex {
    /// The stage at place `at`; the last that can be told if that is too far for any plan.
    pub fn at(at: usize) -> Self {
        Self(u16::try_from(at).unwrap_or(u16::MAX))
    }

    /// The place in a list of all stages.
    pub fn place(self) -> usize {
        usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { initial_ms: 1_000, factor: 2, max_ms: 10_000 };

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let ceilings: Vec<u64> =
            (1..=6).map(|n| u64::try_from(BACKOFF.ceiling(n).as_millis()).unwrap()).collect();
        assert_eq!(ceilings, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(BACKOFF.ceiling(u32::MAX), Duration::from_secs(10));
    }

    #[test]
    fn jitter_spans_nothing_to_everything() {
        assert_eq!(BACKOFF.delay(2, Jitter(0)), Duration::ZERO);
        assert_eq!(BACKOFF.delay(2, Jitter(u16::MAX)), Duration::from_secs(2));
    }

    #[test]
    fn wrong_plans_are_refused_by_name() {
        let stage = |name: &str| PlannedStage {
            name: name.into(),
            handler: "echo".into(),
            max_attempts: 1,
            timeout_ms: 1,
            backoff: BACKOFF,
            max_rate_limited: 1,
            max_lost: 1,
            beside_previous: false,
        };
        assert_eq!(Plan::new(vec![]), Err(InvalidPlan::Empty));
        assert_eq!(Plan::new(vec![stage("a"), stage("a")]), Err(InvalidPlan::DuplicateName("a".into())));
        assert_eq!(Plan::new(vec![stage("A b")]), Err(InvalidPlan::BadName("A b".into())));
        let zero = PlannedStage { timeout_ms: 0, ..stage("a") };
        assert_eq!(Plan::new(vec![zero]), Err(InvalidPlan::Zero { stage: "a".into(), field: "timeout_ms" }));
        assert_eq!(Plan::new(vec![stage("a"); MAX_STAGES + 1]), Err(InvalidPlan::TooLong(MAX_STAGES + 1)));
        let beside = |name: &str| PlannedStage { beside_previous: true, ..stage(name) };
        assert_eq!(Plan::new(vec![beside("a"), beside("b")]), Err(InvalidPlan::BesideNothing("a".into())));
        let plan = Plan::new(vec![stage("a"), stage("b"), beside("c"), beside("d"), stage("e")]).unwrap();
        let groups = [0..1, 1..4, 1..4, 1..4, 4..5, 5..5];
        for (at, group) in groups.into_iter().enumerate() {
            assert_eq!(plan.group(StageIndex::at(at)), group, "of stage {at}");
        }
    }
}
