//! Has a stage done by a service of the user.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::ports::call::CacheUse;
use quillwork_app::ports::remote::{RemoteRequest, RemoteStage};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::context::StageContext;
use crate::stage::{Stage, StageError, StageInput, StageOutput};

/// `settings.<handler>`: an object. What its members mean is the service's affair.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Settings {
    _members: BTreeMap<String, IgnoredAny>,
}

pub(super) struct Remote {
    pub(super) service: Arc<dyn RemoteStage>,
}

#[async_trait]
impl Stage for Remote {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let request = RemoteRequest {
            job: cx.job(),
            stage: cx.stage().to_owned(),
            attempt: cx.attempt(),
            round: cx.round(),
            topic: input.topic,
            settings: input.settings,
            outputs: input.outputs,
            feedback: input.feedback,
            idempotency_key: RemoteRequest::key(cx.job(), cx.stage(), cx.round()),
            traceparent: cx.run().meta.traceparent.clone(),
        };
        let output = self.service.run(&request, &cx.call(CacheUse::Use)).await?;
        StageOutput::new(&output)
    }
}
