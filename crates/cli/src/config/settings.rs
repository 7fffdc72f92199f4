//! Every setting, its default and what it accepts.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use tracing_subscriber::EnvFilter;

use crate::config::Span;

/// The settings of Quillwork. Relative paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The folder that holds everything this process keeps. One process owns it.
    #[serde(deserialize_with = "folder")]
    #[schemars(length(min = 1))]
    pub(crate) data_dir: PathBuf,
    /// Where the log is kept: absent or `sqlite` for a file in the data directory.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "store")]
    pub(crate) store: Option<String>,
    /// The address the HTTP API listens on. It has no authentication yet: keep it on the loopback, or behind a proxy.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    pub(crate) listen: SocketAddr,
    /// The pipeline of jobs that name none.
    pub(crate) default_pipeline: String,
    /// The folder that research searches; absent for the documentation that comes with the binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) corpus: Option<PathBuf>,
    /// How long a worker may be silent before its stages are given to others.
    pub(crate) lease: Span,
    /// How long running stages may take to finish after a signal before they are given back to the queue.
    pub(crate) shutdown_grace: Span,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,quillwork_api=debug`.
    #[serde(deserialize_with = "log_filter")]
    pub(crate) log: String,
    /// Absent for text on a terminal and JSON elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) limits: Limits,
    /// By handler: how many of its stages run at once.
    pub(crate) stages: BTreeMap<String, StageSettings>,
    /// By name: what a job goes through.
    pub(crate) pipelines: BTreeMap<String, PipelineSettings>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Json,
    Text,
}

/// How much this process takes on. What is over a limit is refused, never dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Jobs that may wait or run.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) max_backlog: u64,
    /// Commands that may wait to be committed.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) max_pending: u32,
    /// Commands that one commit holds at most.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) max_batch: u32,
    /// Memory for the states of open jobs, in bytes.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) cache_bytes: u64,
    /// The largest request body, in bytes.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) body_bytes: u32,
    /// The largest body of a batch of submissions, in bytes.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) batch_body_bytes: u32,
    /// Connections that may be open at once.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_backlog: 1_000_000,
            max_pending: 10_000,
            max_batch: 1_024,
            cache_bytes: 8 * 1024 * 1024,
            body_bytes: 256 * 1024,
            batch_body_bytes: 16 * 1024 * 1024,
            connections: 16_384,
        }
    }
}

/// One stage handler in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageSettings {
    /// How many stages of this handler run at once.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) concurrency: u32,
}

/// One pipeline.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PipelineSettings {
    /// In order.
    pub(crate) stages: Vec<PipelineStage>,
}

/// A stage of a pipeline: the name of a handler, or a table.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum PipelineStage {
    Handler(String),
    Table(StageTable),
}

/// A stage of a pipeline with its policy.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageTable {
    /// Unique in the pipeline; absent for the handler's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) handler: String,
    /// How many times the stage may fail by its own fault before the job fails.
    #[serde(default = "max_attempts", deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) max_attempts: u32,
    /// An attempt that takes longer is stopped and counts as failed.
    #[serde(default = "timeout")]
    pub(crate) timeout: Span,
    #[serde(default)]
    pub(crate) backoff: BackoffSettings,
    /// How many times a provider may turn the stage away for its rate.
    #[serde(default = "max_rate_limited")]
    pub(crate) max_rate_limited: u32,
    /// How many times a worker may be lost while it holds the stage.
    #[serde(default = "max_lost")]
    pub(crate) max_lost: u32,
}

impl StageTable {
    /// The default policy.
    pub(crate) fn of(handler: &str) -> Self {
        Self {
            name: None,
            handler: handler.to_owned(),
            max_attempts: max_attempts(),
            timeout: timeout(),
            backoff: BackoffSettings::default(),
            max_rate_limited: max_rate_limited(),
            max_lost: max_lost(),
        }
    }
}

fn max_attempts() -> u32 {
    3
}

fn timeout() -> Span {
    Span::millis(5 * 60_000)
}

fn max_rate_limited() -> u32 {
    100
}

fn max_lost() -> u32 {
    20
}

/// Waits between attempts: a random share of `initial * factor^(n-1)`, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackoffSettings {
    pub(crate) initial: Span,
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) factor: u32,
    pub(crate) max: Span,
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self { initial: Span::millis(1_000), factor: 2, max: Span::millis(60_000) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let concurrency = |n| StageSettings { concurrency: n };
        let pipeline = |handlers: &[&str]| PipelineSettings {
            stages: handlers.iter().map(|handler| PipelineStage::Handler((*handler).to_owned())).collect(),
        };
        Self {
            data_dir: "./quillwork-data".into(),
            store: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            default_pipeline: "article".into(),
            corpus: None,
            lease: Span::millis(10_000),
            shutdown_grace: Span::millis(30_000),
            log: "info".into(),
            log_format: None,
            limits: Limits::default(),
            stages: BTreeMap::from([
                ("research".into(), concurrency(4)),
                ("generation".into(), concurrency(4)),
                ("echo".into(), concurrency(256)),
            ]),
            pipelines: BTreeMap::from([
                ("article".into(), pipeline(&["research", "generation"])),
                ("echo".into(), pipeline(&["echo", "echo"])),
            ]),
        }
    }
}

impl<'de> Deserialize<'de> for PipelineStage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Written out because an untagged enum forgets what was wrong with the table.
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = PipelineStage;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "the name of a handler, or a table such as { handler = \"research\", timeout = \"5m\" }",
                )
            }

            fn visit_str<E>(self, handler: &str) -> Result<Self::Value, E> {
                Ok(PipelineStage::Handler(handler.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                StageTable::deserialize(MapAccessDeserializer::new(map)).map(PipelineStage::Table)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn positive<'de, D: Deserializer<'de>, N: Deserialize<'de> + Default + Display + PartialOrd>(
    deserializer: D,
) -> Result<N, D::Error> {
    let number = N::deserialize(deserializer)?;
    if number > N::default() {
        Ok(number)
    } else {
        Err(D::Error::custom(format!("expected at least 1, got {number}")))
    }
}

fn folder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() {
        return Err(D::Error::custom("expected the path of a folder; \".\" is the working directory"));
    }
    Ok(path)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "expected an IP address and a port such as 127.0.0.1:7070 or [::1]:7070, got {text:?}"
        ))
    })
}

fn store<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let url = String::deserialize(deserializer)?;
    match url.split(':').next() {
        Some("sqlite") if url == "sqlite" => Ok(Some(url)),
        // The URL may hold a password and is not repeated.
        Some("postgres" | "postgresql") => Err(D::Error::custom(
            "PostgreSQL is not in this version; accepted: \"sqlite\", the default, a file in the data directory",
        )),
        Some(_) | None => Err(D::Error::custom(
            "accepted: \"sqlite\", the default, a file in the data directory (set data_dir to move it)",
        )),
    }
}

fn log_filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let filter = String::deserialize(deserializer)?;
    // A single word that is no level would be read as the name of a module, and silence everything else.
    let is_word = filter.chars().all(char::is_alphanumeric);
    let valid = if is_word { LEVELS.contains(&filter.as_str()) } else { EnvFilter::try_new(&filter).is_ok() };
    if valid {
        return Ok(filter);
    }
    let levels = LEVELS.join(", ");
    Err(D::Error::custom(format!(
        "accepted: {levels}, or directives such as info,quillwork_api=debug, got {filter:?}"
    )))
}
