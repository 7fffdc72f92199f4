//! Every setting, its default and what it accepts.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;

use quillwork_providers::redis_server::RedisUrl;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing_subscriber::EnvFilter;

use crate::config::cache::CacheSettings;
use crate::config::fetch::FetchSettings;
use crate::config::models::{ModelSettings, PriceSettings};
use crate::config::pipelines::PipelineSettings;
use crate::config::search::{ResearchSettings, Searches};
use crate::config::{BudgetSettings, Frequency, HttpStageSettings, RetentionSettings, Span};

/// The settings of Quillwork. Relative paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The folder that holds everything this process keeps. One process owns it.
    #[serde(deserialize_with = "folder")]
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
    /// The Redis that all processes share for rates, answers from outside and drafts; absent for those of each process by
    /// itself.
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
    pub(crate) budgets: BudgetSettings,
    pub(crate) research: ResearchSettings,
    pub(crate) fetch: FetchSettings,
    pub(crate) cache: CacheSettings,
    pub(crate) prices: PriceSettings,
    /// The folder of prompts for language models, `<name>.md` each, beside and before the one that comes with the binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompts: Option<PathBuf>,
    /// By name: where research searches beside the corpus.
    pub(crate) search: Searches,
    /// By name: who writes.
    pub(crate) models: BTreeMap<String, ModelSettings>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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
    /// The service that does its stages; a handler that has one exists by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "HttpStageSettings")]
    pub(crate) http: Option<HttpStageSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        let concurrency = |n| StageSettings { concurrency: Some(n), ..StageSettings::default() };
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
            budgets: BudgetSettings::default(),
            research: ResearchSettings::default(),
            fetch: FetchSettings::default(),
            cache: CacheSettings::default(),
            prices: PriceSettings::default(),
            prompts: None,
            search: Searches::default(),
            models: BTreeMap::new(),
            stages: BTreeMap::from([
                ("research".into(), concurrency(4)),
                ("generation".into(), concurrency(4)),
                ("quality".into(), concurrency(4)),
                ("seo".into(), concurrency(4)),
                ("echo".into(), concurrency(768)),
            ]),
            pipelines: BTreeMap::from([
                ("article".into(), PipelineSettings::article()),
                ("echo".into(), PipelineSettings::echo()),
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

pub(super) fn positive<'de, D: Deserializer<'de>, N: Deserialize<'de> + Default + Display + PartialOrd>(
    deserializer: D,
) -> Result<N, D::Error> {
    let number = N::deserialize(deserializer)?;
    if number > N::default() {
        Ok(number)
    } else {
        Err(D::Error::custom(format!("expected at least 1, got {number}")))
    }
}

pub(super) fn some_positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
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
