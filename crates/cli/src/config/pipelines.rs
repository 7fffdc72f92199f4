//! The pipelines of the configuration, and the plans that they become.

use std::collections::BTreeMap;

use quillwork_domain::plan::{Backoff, Plan, PlannedStage};
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::settings::positive;
use crate::config::{Settings, Span};

/// One pipeline.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PipelineSettings {
    /// In order; a list in the list has stages that run at the same time.
    pub(crate) stages: Vec<PipelineGroup>,
}

/// One stage, or several that run at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum PipelineGroup {
    One(PipelineStage),
    Several(Vec<PipelineStage>),
}

/// A stage of a pipeline: the name of a handler, or a table.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum PipelineStage {
    Handler(String),
    Table(StageTable),
}

/// A stage of a pipeline with its policy.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageTable {
    /// Unique in the pipeline; absent for the handler's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) handler: String,
    /// How many times the stage may fail by its own fault before the job fails.
    #[serde(default = "max_attempts", deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) max_attempts: u32,
    /// An attempt that takes longer is stopped and counts as failed.
    #[serde(default = "timeout")]
    pub(crate) timeout: Span,
    #[serde(default)]
    pub(crate) backoff: BackoffSettings,
    /// How many times a provider may turn the stage away for its rate.
    #[serde(default = "max_rate_limited")]
    pub(crate) max_rate_limited: u32,
    /// How many times a worker may be lost while it holds the stage.
    #[serde(default = "max_lost")]
    pub(crate) max_lost: u32,
}

impl StageTable {
    /// The default policy.
    pub(crate) fn of(handler: &str) -> Self {
        Self {
            name: None,
            handler: handler.to_owned(),
            max_attempts: max_attempts(),
            timeout: timeout(),
            backoff: BackoffSettings::default(),
            max_rate_limited: max_rate_limited(),
            max_lost: max_lost(),
        }
    }
}

fn max_attempts() -> u32 {
    3
}

fn timeout() -> Span {
    Span::millis(5 * 60_000)
}

fn max_rate_limited() -> u32 {
    10_000
}

fn max_lost() -> u32 {
    20
}

/// Waits between attempts: a random share of `initial * factor^(n-1)`, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackoffSettings {
    pub(crate) initial: Span,
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) factor: u32,
    pub(crate) max: Span,
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self { initial: Span::millis(1_000), factor: 2, max: Span::millis(60_000) }
    }
}

impl PipelineSettings {
    /// Writes an article, and judges it twice at the same time.
    pub(crate) fn article() -> Self {
        let one = |handler: &str| PipelineGroup::One(PipelineStage::Handler(handler.to_owned()));
        let judges = ["quality", "seo"].map(|handler| PipelineStage::Handler(handler.to_owned()));
        Self { stages: vec![one("research"), one("generation"), PipelineGroup::Several(judges.into())] }
    }

    /// Does nothing, twice.
    pub(crate) fn echo() -> Self {
        Self { stages: vec![PipelineGroup::One(PipelineStage::Handler("echo".to_owned())); 2] }
    }
}

impl Settings {
    /// The plan of each pipeline; an error names the key and says what is accepted.
    pub(crate) fn plans(&self) -> Result<BTreeMap<String, Plan>, (String, String)> {
        self.pipelines
            .iter()
            .map(|(name, pipeline)| {
                let key = format!("pipelines.{name}.stages");
                let plan = plan(pipeline).map_err(|error| (key, error.to_string()))?;
                Ok((name.clone(), plan))
            })
            .collect()
    }
}

fn plan(pipeline: &PipelineSettings) -> Result<Plan, quillwork_domain::plan::InvalidPlan> {
    let mut tables: Vec<(StageTable, bool)> = Vec::new();
    for group in &pipeline.stages {
        let stages = match group {
            PipelineGroup::One(stage) => std::slice::from_ref(stage),
            PipelineGroup::Several(stages) => stages.as_slice(),
        };
        for (place, stage) in stages.iter().enumerate() {
            let table = match stage {
                PipelineStage::Handler(handler) => StageTable::of(handler),
                PipelineStage::Table(table) => table.clone(),
            };
            tables.push((table, place > 0));
        }
    }
    let unnamed = |handler: &str| {
        tables.iter().filter(|(table, _)| table.name.is_none() && table.handler == handler).count()
    };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut stages = Vec::with_capacity(tables.len());
    for (table, beside_previous) in &tables {
        let handler = table.handler.as_str();
        let name = match &table.name {
            Some(name) => name.clone(),
            None if unnamed(handler) == 1 => handler.to_owned(),
            // Stages of the same handler are told apart by their number.
            None => {
                let number = seen.entry(handler).or_default();
                *number += 1;
                format!("{handler}-{number}")
            }
        };
        stages.push(PlannedStage {
            name,
            handler: table.handler.as_str().into(),
            max_attempts: table.max_attempts,
            timeout_ms: table.timeout.as_millis(),
            backoff: Backoff {
                initial_ms: table.backoff.initial.as_millis(),
                factor: table.backoff.factor,
                max_ms: table.backoff.max.as_millis(),
            },
            max_rate_limited: table.max_rate_limited,
            max_lost: table.max_lost,
            beside_previous: *beside_previous,
        });
    }
    Plan::new(stages)
}

impl<'de> Deserialize<'de> for PipelineGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Written out because an untagged enum forgets what was wrong with the table.
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = PipelineGroup;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "the name of a handler, a table such as { handler = \"research\", timeout = \"5m\" }, or a list of \
                     those that run at the same time",
                )
            }

            fn visit_str<E>(self, handler: &str) -> Result<Self::Value, E> {
                Ok(PipelineGroup::One(PipelineStage::Handler(handler.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let table = StageTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(PipelineGroup::One(PipelineStage::Table(table)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                let stages = Vec::<PipelineStage>::deserialize(SeqAccessDeserializer::new(seq))?;
                if stages.is_empty() {
                    return Err(A::Error::custom(
                        "a list of stages that run at the same time has at least one",
                    ));
                }
                Ok(PipelineGroup::Several(stages))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for PipelineStage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Written out because an untagged enum forgets what was wrong with the table.
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = PipelineStage;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "the name of a handler, or a table such as { handler = \"research\", timeout = \"5m\" }",
                )
            }

            fn visit_str<E>(self, handler: &str) -> Result<Self::Value, E> {
                Ok(PipelineStage::Handler(handler.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                StageTable::deserialize(MapAccessDeserializer::new(map)).map(PipelineStage::Table)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quillwork_domain::job::{Event, JobSubmitted};
    use quillwork_domain::wire;

    use super::*;

    #[test]
    fn stages_of_one_handler_are_numbered() {
        let plans = Settings::default().plans().unwrap();
        let names = |pipeline: &str| -> Vec<String> {
            plans[pipeline].stages().iter().map(|stage| stage.name.clone()).collect()
        };
        assert_eq!(names("echo"), ["echo-1", "echo-2"]);
        assert_eq!(names("article"), ["research", "generation", "quality", "seo"]);
    }

    /// The log leaves it out, whatever it is by now; see `wire::plan`.
    #[test]
    fn the_default_policy_is_the_standard_one() {
        let plan = Settings::default().plans().unwrap()["article"].clone();
        let submitted = JobSubmitted::new("topic".into(), "article".into(), plan);
        let stored = wire::encode(&Event::JobSubmitted(Arc::new(submitted))).unwrap();
        let stored = String::from_utf8(stored.data).unwrap();
        assert!(stored.contains("generation") && !stored.contains("max_attempts"), "{stored}");
    }

    #[test]
    fn a_list_in_the_list_is_a_group() {
        let settings: Settings = toml::from_str(
            "[pipelines.p]\nstages = ['research', 'generation', ['echo', {handler = 'echo', name = 'seo'}], 'echo']",
        )
        .unwrap();
        let plans = settings.plans().unwrap();
        let stages: Vec<_> =
            plans["p"].stages().iter().map(|stage| (stage.name.as_str(), stage.beside_previous)).collect();
        let expected =
            [("research", false), ("generation", false), ("echo-1", false), ("seo", true), ("echo-2", false)];
        assert_eq!(stages, expected);
    }
}
