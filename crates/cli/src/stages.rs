//! The names of the stage handlers that are configured.

use quillwork_worker::stages::BUILT_IN;

use crate::config::Settings;

/// The handlers that pipelines can use.
pub(crate) fn names(_settings: &Settings) -> Vec<String> {
    BUILT_IN.map(str::to_owned).to_vec()
}
