//! The names of the stage handlers that are configured.

use quillwork_worker::stages::BUILT_IN;

use crate::config::Settings;

/// The handlers that pipelines can use: those that are built in, and those that are services.
pub(crate) fn names(settings: &Settings) -> Vec<String> {
    let services = settings.stages.iter().filter(|(_, stage)| stage.http.is_some());
    let services = services.map(|(handler, _)| handler.as_str()).filter(|name| !BUILT_IN.contains(name));
    BUILT_IN.into_iter().chain(services).map(str::to_owned).collect()
}
