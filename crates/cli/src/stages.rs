//! The stages of this process, on the providers that are configured.

use std::sync::Arc;

use quillwork_app::ports::search::Search;
use quillwork_providers::corpus::Corpus;
use quillwork_providers::extractive::Extractive;
use quillwork_worker::stage::StageHandler;
use quillwork_worker::stages::{Providers, all};

use crate::config::Settings;

/// Every stage that pipelines can name. Touches nothing outside: providers begin with their first call.
pub(crate) fn handlers(settings: &Settings) -> Vec<StageHandler> {
    let index = settings.data_dir.join("index");
    let search: Arc<dyn Search> = match &settings.corpus {
        Some(folder) => Arc::new(Corpus::folder(folder, &index)),
        None => Arc::new(Corpus::embedded(&index)),
    };
    all(&Providers { search, writer: Arc::new(Extractive) })
}
