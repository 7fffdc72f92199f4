//! The one list of stages.

mod echo;
mod generation;
mod research;

use std::sync::Arc;

use quillwork_app::ports::search::Search;
use quillwork_app::ports::writer::Writer;

use crate::stage::StageHandler;

/// What stages need of the outside world.
#[derive(Clone)]
pub struct Providers {
    pub search: Arc<dyn Search>,
    pub writer: Arc<dyn Writer>,
}

/// Every stage that plans can name.
pub fn all(providers: &Providers) -> Vec<StageHandler> {
    vec![
        StageHandler {
            name: "research",
            default_concurrency: 4,
            check_settings: check::<research::Settings>,
            stage: Arc::new(research::Research { search: providers.search.clone() }),
        },
        StageHandler {
            name: "generation",
            default_concurrency: 4,
            check_settings: check::<generation::Settings>,
            stage: Arc::new(generation::Generation { writer: providers.writer.clone() }),
        },
        StageHandler {
            name: "echo",
            // It waits for nothing: more at once means fuller commits.
            default_concurrency: 768,
            check_settings: check::<echo::Settings>,
            stage: Arc::new(echo::Echo),
        },
    ]
}

/// Settings that check themselves beyond their types.
trait Checked {
    fn check(&self) -> Result<(), String>;
}

fn check<T: serde::de::DeserializeOwned + Checked>(json: &serde_json::value::RawValue) -> Result<(), String> {
    let settings: T = serde_json::from_str(json.get()).map_err(|error| error.to_string())?;
    settings.check()
}
