//! What clients may ask for: the pipelines of the configuration, and the settings that their handlers take.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use quillwork_domain::job::Budget;
use quillwork_domain::plan::Plan;
use serde_json::value::RawValue;

/// Whether settings can be used; the error names the member and says what it accepts.
type Check = dyn Fn(&RawValue) -> Result<(), String> + Send + Sync;

/// Checks the settings of one handler.
#[derive(Clone)]
pub struct CheckSettings(Arc<Check>);

impl CheckSettings {
    pub fn new(check: impl Fn(&RawValue) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Whether the handler takes these settings.
    pub fn check(&self, settings: &RawValue) -> Result<(), String> {
        (self.0)(settings)
    }
}

impl fmt::Debug for CheckSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckSettings")
    }
}

/// Fixed at start.
#[derive(Clone, Debug)]
pub struct Catalog {
    pipelines: BTreeMap<String, Plan>,
    default_pipeline: String,
    handlers: BTreeMap<String, CheckSettings>,
    job_budget: Option<Budget>,
    /// Models that have no price.
    unpriced: Vec<String>,
}

/// A wish that the catalog does not hold; says what it does hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInCatalog {
    #[error("there is no pipeline {name:?}; the pipelines are: {known}")]
    Pipeline { name: String, known: String },
    #[error("pipeline {pipeline:?} uses the handler {handler:?}; the handlers are: {known}")]
    Handler { pipeline: String, handler: String, known: String },
    #[error("settings.{name} is for no stage of pipeline {pipeline:?}; its handlers are: {known}")]
    Settings { name: String, pipeline: String, known: String },
    #[error("settings.{name}: {reason}")]
    WrongSettings { name: String, reason: String },
    #[error("settings: expected a JSON object with one member per stage handler")]
    NotAnObject,
}

impl Catalog {
    /// Every handler that a pipeline uses must be one of `handlers`, and the default must be one of `pipelines`.
    pub fn new(
        pipelines: BTreeMap<String, Plan>,
        default_pipeline: String,
        handlers: BTreeMap<String, CheckSettings>,
    ) -> Result<Self, NotInCatalog> {
        let catalog = Self { pipelines, default_pipeline, handlers, job_budget: None, unpriced: vec![] };
        catalog.pipeline(None)?;
        for (pipeline, plan) in &catalog.pipelines {
            for stage in plan.stages() {
                if !catalog.handlers.contains_key(&*stage.handler) {
                    return Err(NotInCatalog::Handler {
                        pipeline: pipeline.clone(),
                        handler: stage.handler.as_ref().to_owned(),
                        known: join(catalog.handlers.keys().map(String::as_str)),
                    });
                }
            }
        }
        Ok(catalog)
    }

    /// The same, where a job that names no budget gets this one.
    pub fn with_job_budget(self, job_budget: Option<Budget>) -> Self {
        Self { job_budget, ..self }
    }

    /// The models whose calls no budget can count.
    pub fn with_unpriced(self, unpriced: Vec<String>) -> Self {
        Self { unpriced, ..self }
    }

    /// Whether a job may have a budget: not if models could write it for nothing that is counted.
    pub fn check_budget(&self) -> Result<(), String> {
        if self.unpriced.is_empty() {
            return Ok(());
        }
        Err(format!(
            "no budget can be kept, because these models have no price in the configuration (prices.models; 0 for what is free): {}",
            self.unpriced.join(", ")
        ))
    }

    /// What a job may cost that does not say it; None if that is not limited.
    pub fn job_budget(&self) -> Option<Budget> {
        self.job_budget
    }

    /// The pipeline called `name`, or the default one: its name and its plan.
    pub fn pipeline(&self, name: Option<&str>) -> Result<(&str, &Plan), NotInCatalog> {
        let name = name.unwrap_or(&self.default_pipeline);
        match self.pipelines.get_key_value(name) {
            Some((name, plan)) => Ok((name, plan)),
            None => Err(NotInCatalog::Pipeline {
                name: name.to_owned(),
                known: join(self.pipelines.keys().map(String::as_str)),
            }),
        }
    }

    pub fn pipelines(&self) -> impl Iterator<Item = (&str, &Plan)> {
        self.pipelines.iter().map(|(name, plan)| (name.as_str(), plan))
    }

    pub fn default_pipeline(&self) -> &str {
        &self.default_pipeline
    }

    /// Checks a submission's settings: an object with a member for each handler that takes any.
    pub fn check_settings(
        &self,
        pipeline: &str,
        plan: &Plan,
        settings: &RawValue,
    ) -> Result<(), NotInCatalog> {
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_str(settings.get()).map_err(|_| NotInCatalog::NotAnObject)?;
        for (name, value) in members {
            let used = plan.stages().iter().any(|stage| *stage.handler == *name);
            match self.handlers.get(&name) {
                Some(check) if used => {
                    check.check(value).map_err(|reason| NotInCatalog::WrongSettings { name, reason })?;
                }
                Some(_) | None => {
                    let known = join(plan.stages().iter().map(|stage| &*stage.handler));
                    return Err(NotInCatalog::Settings { name, pipeline: pipeline.to_owned(), known });
                }
            }
        }
        Ok(())
    }
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}
