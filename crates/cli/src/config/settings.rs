//! Every setting, its default and what it accepts.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;

use quillwork_providers::redis_server::RedisUrl;
use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing_subscriber::EnvFilter;

use crate::config::{Frequency, RetentionSettings, Span};

/// The settings of Quillwork. Relative paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The folder that holds everything this process keeps. One process owns it.
    #[serde(deserialize_with = "folder")]
    #[schemars(length(min = 1))]
    pub(crate) data_dir: PathBuf,
    /// Where the log is kept: absent or `sqlite` for a file in the data directory, or the URL of a PostgreSQL database such
    /// as `postgres://user:password@host/database`, which processes share.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "store")]
    pub(crate) store: Option<String>,
    /// The address the HTTP API listens on. It has no authentication yet: keep it on the loopback, or behind a proxy.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    pub(crate) listen: SocketAddr,
    /// The address of `/healthz`, `/readyz` and `/metrics` in a process without the API; absent for none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_address")]
    #[schemars(with = "Option<String>")]
    pub(crate) health_listen: Option<SocketAddr>,
    /// The pipeline of jobs that name none.
    pub(crate) default_pipeline: String,
    /// The folder that research searches; absent for the documentation that comes with the binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) corpus: Option<PathBuf>,
    /// The Redis that all processes share for rates; absent for rates of each process by itself.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "redis", serialize_with = "shown")]
    #[schemars(with = "String")]
    pub(crate) redis: Option<RedisUrl>,
    /// How long a worker may be silent before its stages are given to others.
    pub(crate) lease: Span,
    /// How long running stages may take to finish after a signal before they are given back to the queue.
    pub(crate) shutdown_grace: Span,
    /// How long the API goes on serving after a signal while `/readyz` says 503, so that requests are sent elsewhere;
    /// absent for 2s with a store that processes share, and for none with SQLite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drain_delay: Option<Span>,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,quillwork_api=debug`.
    #[serde(deserialize_with = "log_filter")]
    pub(crate) log: String,
    /// Absent for text on a terminal and JSON elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) limits: Limits,
    pub(crate) postgres: PostgresSettings,
    pub(crate) retention: RetentionSettings,
    /// By handler: how many of its stages run at once, and how often they start.
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

/// How this process uses its PostgreSQL database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PostgresSettings {
    /// Connections for reading at most. Besides these a process has one for writing and one that listens, and one more
    /// that listens for the read models if it has the API or the projections.
    #[serde(deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub(crate) max_connections: u32,
    /// The URL leads to a PgBouncer in transaction mode: nothing is kept on a connection between transactions, and what
    /// other processes write is found by polling.
    pub(crate) pooled: bool,
    /// How often to look at what other processes wrote, beside being notified.
    pub(crate) poll_interval: Span,
    /// Create and upgrade the schema at start; else only `quillwork migrate` does.
    pub(crate) auto_migrate: bool,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { max_connections: 10, pooled: false, poll_interval: Span::millis(250), auto_migrate: true }
    }
}

/// One stage handler in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageSettings {
    /// How many stages of this handler run at once in a process.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_positive")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) concurrency: Option<u32>,
    /// How often stages of this handler start in all processes that share a Redis, such as `60/min`; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Frequency")]
    pub(crate) rate: Option<Frequency>,
    /// How many may start at once after a rest; absent for one, or a tenth of what starts in a second.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_positive")]
    #[schemars(with = "u32", range(min = 1))]
    pub(crate) burst: Option<u32>,
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
        let concurrency = |n| StageSettings { concurrency: Some(n), ..StageSettings::default() };
        let pipeline = |handlers: &[&str]| PipelineSettings {
            stages: handlers.iter().map(|handler| PipelineStage::Handler((*handler).to_owned())).collect(),
        };
        Self {
            data_dir: "./quillwork-data".into(),
            store: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            health_listen: None,
            default_pipeline: "article".into(),
            corpus: None,
            redis: None,
            lease: Span::millis(10_000),
            shutdown_grace: Span::millis(30_000),
            drain_delay: None,
            log: "info".into(),
            log_format: None,
            limits: Limits::default(),
            postgres: PostgresSettings::default(),
            retention: RetentionSettings::default(),
            stages: BTreeMap::from([
                ("research".into(), concurrency(4)),
                ("generation".into(), concurrency(4)),
                ("echo".into(), concurrency(768)),
            ]),
            pipelines: BTreeMap::from([
                ("article".into(), pipeline(&["research", "generation"])),
                ("echo".into(), pipeline(&["echo", "echo"])),
            ]),
        }
    }
}

impl Settings {
    /// The URL of the PostgreSQL database, if the log is kept in one.
    pub(crate) fn postgres_url(&self) -> Option<&str> {
        self.store.as_deref().filter(|store| is_postgres(store))
    }
}

fn is_postgres(store: &str) -> bool {
    store.starts_with("postgres://") || store.starts_with("postgresql://")
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

fn some_positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    positive(deserializer).map(Some)
}

fn redis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RedisUrl>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

/// Without the credentials.
fn shown<S: Serializer>(url: &Option<RedisUrl>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_ref().map(ToString::to_string).serialize(serializer)
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

fn optional_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    address(deserializer).map(Some)
}

fn store<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let store = String::deserialize(deserializer)?;
    if store == "sqlite" || is_postgres(&store) {
        return Ok(Some(store));
    }
    // A URL may hold a password and is not repeated.
    Err(D::Error::custom(
        "accepted: \"sqlite\", the default, a file in the data directory (set data_dir to move it), or the URL of a PostgreSQL database such as postgres://user:password@host/database",
    ))
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
