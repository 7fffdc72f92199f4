//! Laying the sources over each other, and remembering where each value came from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use quillwork_domain::plan::Plan;
use toml::{Table, Value};

use crate::config::error::{ConfigError, Place, did_you_mean};
use crate::config::file::{line_of_key, read_file};
use crate::config::frequency::Frequency;
use crate::config::secret::{HIDDEN, is_secret};
use crate::config::settings::Settings;
use crate::exit::Usage;
use crate::stages;

const PREFIX: &str = "QUILLWORK_";

/// Variables that are no settings: read elsewhere.
const OTHER_VARIABLES: [&str; 2] = ["QUILLWORK_SERVER", "QUILLWORK_CONFIG"];

/// The effective configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// By key path, such as `limits.max_batch`: every value that is set.
    pub(crate) values: BTreeMap<String, (Value, Origin)>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Values given as flags: the flag, the key, the text.
pub(crate) type Overrides = Vec<(&'static str, Cow<'static, str>, String)>;

/// Reads every layer. `file` must exist if it is named; `variables` is the environment.
pub(crate) fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let mut values = BTreeMap::new();
    let defaults = Table::try_from(Settings::default())
        .map_err(|error| ConfigError::Syntax { place: Place::Default, reason: error.to_string() })?;
    lay(&mut values, "", defaults, &Origin::Default);
    let known: Vec<String> = known_keys(&values);

    if let Some((path, table)) = read_file(file)? {
        lay(&mut values, "", table, &Origin::File(path));
    }
    for (name, text) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if OTHER_VARIABLES.contains(&name) || name.starts_with("QUILLWORK_TEST_") {
            continue;
        }
        // What composes containers sets a variable to nothing to say nothing.
        if text.is_empty() {
            continue;
        }
        let place = Place::Variable(name.to_owned());
        let Some(text) = text.to_str() else {
            return Err(ConfigError::Syntax { place, reason: "the value is not UTF-8".into() });
        };
        let key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        let table = read_value(&place, &key, text, &known)?;
        lay(&mut values, "", table, &Origin::Variable(name.to_owned()));
    }
    for (flag, key, text) in overrides {
        let table = read_value(&Place::Flag(flag), key, text, &known)?;
        lay(&mut values, "", table, &Origin::Flag(flag));
    }
    finish(values)
}

/// Turns the layered values into settings, and checks what only shows when all are together.
fn finish(mut values: BTreeMap<String, (Value, Origin)>) -> Result<Config, ConfigError> {
    let mut table = Table::new();
    for (key, (value, _)) in &values {
        insert(&mut table, key, value.clone());
    }
    let settings =
        serde_path_to_error::deserialize::<_, Settings>(table).map_err(|error| ConfigError::Value {
            place: Place::Default,
            key: error.path().to_string(),
            reason: error.inner().message().to_owned(),
        })?;
    for (key, (value, _)) in &mut values {
        if is_secret(key) {
            *value = Value::String(HIDDEN.to_owned());
        }
    }
    // From here on only the connection knows the password.
    if let (Some(url), Some((value, _))) = (&settings.redis, values.get_mut("redis")) {
        *value = Value::String(url.to_string());
    }
    let config = Config { settings, values };
    let plans = config.settings.plans().map_err(|(key, reason)| config.wrong(&key, reason))?;
    if !plans.contains_key(&config.settings.default_pipeline) {
        let known: Vec<&str> = plans.keys().map(String::as_str).collect();
        let name = &config.settings.default_pipeline;
        return Err(config.wrong(
            "default_pipeline",
            format!("there is no pipeline {name:?}; the pipelines are: {}", known.join(", ")),
        ));
    }
    check_handlers(&config, &plans)?;
    let outside = config.settings.check_searches().and_then(|()| config.settings.check_models());
    outside.map_err(|(key, reason)| config.wrong(&key, reason))?;
    for (handler, stage) in &config.settings.stages {
        Frequency::rate(stage.rate, stage.burst)
            .map_err(|(name, reason)| config.wrong(&format!("stages.{handler}.{name}"), reason))?;
        if let Some(http) = &stage.http {
            http.endpoint(handler)
                .map_err(|(name, reason)| config.wrong(&format!("stages.{handler}.http.{name}"), reason))?;
        }
    }
    Ok(config)
}

/// Every handler that is named must exist.
fn check_handlers(config: &Config, plans: &BTreeMap<String, Plan>) -> Result<(), ConfigError> {
    let known = stages::names(&config.settings);
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let check = |key: String, handler: &str| {
        if known.contains(&handler) {
            return Ok(());
        }
        let hint = did_you_mean(handler, known.iter().copied());
        let known = known.join(", ");
        Err(config.wrong(&key, format!("there is no handler {handler:?}; the handlers are: {known}{hint}")))
    };
    for handler in config.settings.stages.keys() {
        let prefix = format!("stages.{handler}.");
        let key = config.values.keys().find(|key| key.starts_with(&prefix));
        check(key.cloned().unwrap_or(prefix), handler)?;
    }
    for (pipeline, plan) in plans {
        for stage in plan.stages() {
            check(format!("pipelines.{pipeline}.stages"), &stage.handler)?;
        }
    }
    Ok(())
}

impl Config {
    /// True if nobody has set `key`.
    pub(crate) fn is_default(&self, key: &str) -> bool {
        self.values.get(key).is_none_or(|(_, origin)| *origin == Origin::Default)
    }

    /// True if `key` was given as a flag.
    pub(crate) fn is_flag(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|(_, origin)| matches!(origin, Origin::Flag(_)))
    }

    /// Refuses a store that belongs to one process, for a role that needs others beside it.
    pub(crate) fn require_shared_store(&self, role: &str) -> Result<(), Usage> {
        if self.settings.postgres_url().is_some() {
            return Ok(());
        }
        Err(Usage(format!(
            "`quillwork {role}` needs a store that several processes can share, such as --store postgres://user@host/database, and SQLite belongs to one process; `quillwork up` runs the API, the workers and the projections in one process"
        )))
    }

    /// An error about a value of the effective configuration. One that is missing is missed where its neighbours are.
    pub(crate) fn wrong(&self, key: &str, reason: String) -> ConfigError {
        let table = key.rsplit_once('.').map(|(table, _)| format!("{table}."));
        let neighbour =
            || self.values.iter().find(|(key, _)| table.as_ref().is_some_and(|table| key.starts_with(table)));
        let set = self.values.get_key_value(key).or_else(neighbour);
        let place = match set.map(|(_, (_, origin))| origin) {
            Some(Origin::File(path)) => {
                let line = std::fs::read_to_string(path).ok().and_then(|text| line_of_key(&text, key));
                match line {
                    Some(line) => Place::File { path: path.clone(), line },
                    None => Place::WholeFile(path.clone()),
                }
            }
            Some(Origin::Variable(name)) => Place::Variable(name.clone()),
            Some(Origin::Flag(flag)) => Place::Flag(flag),
            Some(Origin::Default) | None => Place::Default,
        };
        ConfigError::Value { place, key: key.to_owned(), reason }
    }
}

/// Reads one value from text: as TOML if it is a number, a list or a table, else as it is.
fn read_value(place: &Place, key: &str, text: &str, known: &[String]) -> Result<Table, ConfigError> {
    let literal = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let literal = literal.filter(|value| !value.is_str());
    let mut candidates: Vec<Value> = literal.into_iter().chain([Value::String(text.to_owned())]).collect();
    let mut first_error = None;
    for candidate in candidates.drain(..) {
        let mut table = Table::new();
        insert(&mut table, key, candidate);
        match serde_path_to_error::deserialize::<_, Settings>(table.clone()) {
            Ok(_) => return Ok(table),
            Err(error) => first_error = first_error.or(Some(error.inner().message().to_owned())),
        }
    }
    let mut reason = first_error.unwrap_or_default();
    if let Place::Variable(name) = place
        && reason.starts_with("unknown field")
    {
        let variables: Vec<String> =
            known.iter().map(|key| PREFIX.to_owned() + &key.replace('.', "__").to_uppercase()).collect();
        let hint = did_you_mean(name, variables.iter().map(String::as_str));
        reason = format!("there is no such setting{hint} (`quillwork config show` lists the settings)");
        return Err(ConfigError::Syntax { place: place.clone(), reason });
    }
    Err(ConfigError::Value { place: place.clone(), key: key.to_owned(), reason })
}

/// Every key that may be set, whether it has a default or not.
fn known_keys(defaults: &BTreeMap<String, (Value, Origin)>) -> Vec<String> {
    let optional = [
        "store",
        "corpus",
        "prompts",
        "fetch.contact",
        "redis",
        "log_format",
        "health_listen",
        "drain_delay",
        "retention.keep",
        "retention.archive_dir",
        "budgets.job",
        "budgets.tenant_day",
    ]
    .map(str::to_owned);
    let handlers = defaults.keys().filter_map(|key| key.strip_suffix(".concurrency"));
    let rates = handlers.flat_map(|handler| [format!("{handler}.rate"), format!("{handler}.burst")]);
    defaults.keys().cloned().chain(optional).chain(rates).collect()
}

/// Puts the leaves of `table` over `values`.
fn lay(values: &mut BTreeMap<String, (Value, Origin)>, prefix: &str, table: Table, origin: &Origin) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        if let Value::Table(inner) = value {
            lay(values, &key, inner, origin);
        } else {
            values.insert(key, (value, origin.clone()));
        }
    }
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Parts of the names of parameters that are secret. Rather one too many is hidden than one too few.
const SECRETS: [&str; 6] = ["password", "key", "token", "secret", "sig", "auth"];

/// A value as `config show` prints it: without the password of a URL.
pub(crate) fn show_value(value: &Value) -> Value {
    match value.as_str().and_then(without_password) {
        Some(url) => Value::String(url),
        None => value.clone(),
    }
}

/// The URL without its secrets, if it has one: a password before the host, or a parameter.
pub(crate) fn without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    // A password may hold an @; the host cannot.
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let hidden = authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host)));
    let secret = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default().to_ascii_lowercase();
        SECRETS.iter().any(|part| name.contains(part))
    };
    if hidden.is_none() && !query.is_some_and(|query| query.split('&').any(secret)) {
        return None;
    }
    let authority = hidden.map_or(authority.to_owned(), |(user, host)| format!("{user}:***@{host}"));
    let shown = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if secret(parameter) => format!("{name}=***"),
        Some(_) | None => parameter.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(shown).collect::<Vec<_>>().join("&"));
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{scheme}://{authority}{path}{query}"))
}

#[cfg(test)]
mod tests;
