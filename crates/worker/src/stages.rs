//! The one list of stages.

mod assessment;
mod echo;
mod generation;
mod quality;
mod remote;
mod research;
mod seo;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use quillwork_app::catalog::CheckSettings;
use quillwork_app::ports::fetch::Fetch;
use quillwork_app::ports::model::LanguageModel;
use quillwork_app::ports::remote::RemoteStage;
use quillwork_app::ports::search::Search;
use quillwork_app::ports::writer::Writer;
use serde::de::DeserializeOwned;

pub use self::generation::prompt::{InvalidTemplate, Template};
use crate::stage::StageHandler;

/// The handlers that every process knows, in the order of their names.
pub const BUILT_IN: [&str; 5] = ["echo", "generation", "quality", "research", "seo"];

/// How many calls a service gets at once from a process, unless configured: it does the work, so its operator knows.
pub const SERVICE_CONCURRENCY: usize = 10;

/// What stages need of the outside world.
#[derive(Clone)]
pub struct Providers {
    /// By the name that jobs use.
    pub searches: BTreeMap<String, Arc<dyn Search>>,
    /// Asked for jobs that name none.
    pub default_searches: Vec<String>,
    pub fetch: Arc<dyn Fetch>,
    /// Writes without a language model.
    pub writer: Arc<dyn Writer>,
    /// Absent if none is configured.
    pub model: Option<Arc<dyn LanguageModel>>,
    /// By the name that jobs use.
    pub prompts: BTreeMap<String, Template>,
    /// By the handler whose stages they do; none of the names is built in.
    pub services: BTreeMap<String, Arc<dyn RemoteStage>>,
}

/// Every stage that plans can name.
pub fn all(providers: Providers) -> Vec<StageHandler> {
    let searches: Vec<String> = providers.searches.keys().cloned().collect();
    let prompts: Vec<String> = providers.prompts.keys().cloned().collect();
    let has_model = providers.model.is_some();
    let built_in = [
        StageHandler {
            name: "research".into(),
            default_concurrency: 4,
            check_settings: check(move |settings: &research::Settings| settings.check(&searches)),
            stage: Arc::new(research::Research {
                searches: providers.searches,
                default_searches: providers.default_searches,
                fetch: providers.fetch,
            }),
        },
        StageHandler {
            name: "generation".into(),
            default_concurrency: 4,
            check_settings: check(move |settings: &generation::Settings| settings.check(&prompts, has_model)),
            stage: Arc::new(generation::Generation {
                writer: providers.writer,
                model: providers.model,
                prompts: providers.prompts,
            }),
        },
        StageHandler {
            name: "quality".into(),
            default_concurrency: 4,
            check_settings: check(quality::Settings::check),
            stage: Arc::new(quality::Quality),
        },
        StageHandler {
            name: "seo".into(),
            default_concurrency: 4,
            check_settings: check(seo::Settings::check),
            stage: Arc::new(seo::Seo),
        },
        StageHandler {
            name: "echo".into(),
            // It waits for nothing: more at once means fuller commits.
            default_concurrency: 768,
            check_settings: check(echo::Settings::check),
            stage: Arc::new(echo::Echo),
        },
    ];
    let services = providers.services.into_iter().map(|(handler, service)| StageHandler {
        name: handler.into(),
        default_concurrency: SERVICE_CONCURRENCY,
        check_settings: check(|_: &remote::Settings| Ok(())),
        stage: Arc::new(remote::Remote { service }),
    });
    built_in.into_iter().chain(services).collect()
}

/// Settings that have their shape are checked further by `check`.
fn check<T: DeserializeOwned>(
    check: impl Fn(&T) -> Result<(), String> + Send + Sync + 'static,
) -> CheckSettings {
    CheckSettings::new(move |json| {
        let settings: T = serde_json::from_str(json.get()).map_err(|error| error.to_string())?;
        check(&settings)
    })
}

/// Whether a number of a job's settings is in its range; the error names it.
fn within(name: &str, value: usize, range: RangeInclusive<usize>) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(format!("{name}: expected {} to {}, got {value}", range.start(), range.end()))
}
