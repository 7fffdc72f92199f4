//! The configuration file, and the places in it.

use std::path::{Path, PathBuf};

use toml::Table;
use toml::de::{DeTable, DeValue};

use crate::config::error::{ConfigError, Place};
use crate::config::settings::Settings;

/// The file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "quillwork.toml";

/// Reads and checks the file that is named, or the default one if it is there.
pub(super) fn read_file(named: Option<&Path>) -> Result<Option<(PathBuf, Table)>, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE)).to_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(source) => return Err(ConfigError::Unreadable { path, source }),
    };
    let syntax = |error: toml::de::Error| {
        let line = error.span().map_or(1, |span| line_at(&text, span.start));
        ConfigError::Syntax {
            place: Place::File { path: path.clone(), line },
            reason: error.message().to_owned(),
        }
    };
    let deserializer = toml::Deserializer::parse(&text).map_err(syntax)?;
    if let Err(error) = serde_path_to_error::deserialize::<_, Settings>(deserializer) {
        let key = error.path().to_string();
        let place = match error.inner().span() {
            Some(span) => Place::File { path: path.clone(), line: line_at(&text, span.start) },
            None => Place::WholeFile(path.clone()),
        };
        return Err(ConfigError::Value { place, key, reason: error.inner().message().to_owned() });
    }
    let table = text.parse::<Table>().map_err(syntax)?;
    Ok(Some((path, table)))
}

/// The line of `key` in a file that was read before.
pub(super) fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut line = None;
    for name in key.split('.') {
        let (_, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
        line = Some(line_at(text, value.span().start));
        // What is no table has no more names below it.
        let DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    line
}

fn line_at(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count() + 1
}
