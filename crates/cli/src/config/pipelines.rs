//! From the pipelines of the configuration to plans.

use std::collections::BTreeMap;

use quillwork_domain::plan::{Backoff, Plan, PlannedStage};

use crate::config::settings::{PipelineSettings, PipelineStage, Settings, StageTable};

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
    let tables: Vec<StageTable> = pipeline
        .stages
        .iter()
        .map(|stage| match stage {
            PipelineStage::Handler(handler) => StageTable::of(handler),
            PipelineStage::Table(table) => table.clone(),
        })
        .collect();
    let unnamed = |handler: &str| {
        tables.iter().filter(|table| table.name.is_none() && table.handler == handler).count()
    };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut stages = Vec::with_capacity(tables.len());
    for table in &tables {
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
        });
    }
    Plan::new(stages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_one_handler_are_numbered() {
        let plans = Settings::default().plans().unwrap();
        let names = |pipeline: &str| -> Vec<String> {
            plans[pipeline].stages().iter().map(|stage| stage.name.clone()).collect()
        };
        assert_eq!(names("echo"), ["echo-1", "echo-2"]);
        assert_eq!(names("article"), ["research", "generation"]);
    }
}
