//! Logs: on standard error, as text for people or as JSON for programs.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// Starts logging as configured.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<()> {
    let on_terminal = io::stderr().is_terminal();
    let format = settings.log_format.unwrap_or(if on_terminal { LogFormat::Text } else { LogFormat::Json });
    let filter = EnvFilter::try_new(&settings.log).context("the setting log cannot be used")?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // A line that cannot be written would be complained of on the same standard error, with a panic: whoever reads
        // the logs must not take the process with him.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Text => subscriber.with_ansi(on_terminal).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    // A panic is a line of the log like any other, with the spans around it.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
    Ok(())
}
