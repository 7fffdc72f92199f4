//! Returns some JSON, for measuring the engine; on request it misbehaves, for trying a plan's retries and timeouts.

use std::time::Duration;

use async_trait::async_trait;
use quillwork_domain::job::{ErrorClass, Rework};
use serde::Deserialize;

use crate::context::StageContext;
use crate::stage::{Stage, StageError, StageInput, StageOutput};

/// Twice what a stage may return, so that the limit can be tried.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// `settings.echo`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// Size of the output.
    bytes: usize,
    /// Milliseconds to wait first.
    delay_ms: u64,
    /// Attempts, counted from the first, that fail.
    fail_attempts: u32,
    /// The class of those failures.
    fail_class: ErrorClass,
    /// What a failing provider would ask for.
    retry_after_ms: Option<u64>,
    /// Attempts, counted from the first, that panic.
    panic_attempts: u32,
    /// Never return.
    hang: bool,
    /// Rounds, counted from the first, that end with the wish for another one.
    rework_rounds: u32,
    /// The stage that sends the job back, if there are several; it runs in every round.
    rework_by: Option<String>,
    /// The stage to go back to.
    rework_to: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bytes: 1_024,
            delay_ms: 0,
            fail_attempts: 0,
            fail_class: ErrorClass::Transient,
            retry_after_ms: None,
            panic_attempts: 0,
            hang: false,
            rework_rounds: 0,
            rework_by: None,
            rework_to: "echo-1".into(),
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.bytes > MAX_BYTES {
            return Err(format!("bytes: expected at most {MAX_BYTES}, got {}", self.bytes));
        }
        Ok(())
    }
}

pub(super) struct Echo;

#[async_trait]
impl Stage for Echo {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let settings: Settings = input.settings()?;
        if settings.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(settings.delay_ms)).await;
        }
        if settings.hang {
            std::future::pending::<()>().await;
        }
        if cx.attempt().0 <= settings.panic_attempts {
            // Asked for by the job, to show that a panic stays where it happens.
            std::panic::panic_any(format!("echo was asked to panic in attempt {}", cx.attempt()));
        }
        if cx.attempt().0 <= settings.fail_attempts {
            let message = format!("echo was asked to fail in attempt {}", cx.attempt());
            let retry_after = settings.retry_after_ms.map(Duration::from_millis);
            return Err(StageError { class: settings.fail_class, message, retry_after });
        }
        let mut output = output(&input.topic, settings.bytes)?;
        let asks = settings.rework_by.as_deref().is_none_or(|by| by == cx.stage());
        if asks && cx.round() <= settings.rework_rounds && cx.stage() != settings.rework_to {
            let reason = format!("echo was asked to send the job back in round {}", cx.round());
            output.rework = Some(Rework { to: settings.rework_to, reason });
        }
        Ok(output)
    }
}

/// A JSON object of `bytes` bytes, or a little more if the topic alone needs it.
fn output(topic: &str, bytes: usize) -> Result<StageOutput, StageError> {
    #[derive(serde::Serialize)]
    struct Output<'a> {
        topic: &'a str,
        padding: &'a str,
    }
    let frame = r#"{"topic":"","padding":""}"#.len() + topic.len();
    let padding = ".".repeat(bytes.saturating_sub(frame));
    StageOutput::new(&Output { topic, padding: &padding })
}
