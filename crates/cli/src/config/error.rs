//! What is wrong with a configuration, and where it stands.

use std::fmt;
use std::path::PathBuf;

/// A configuration that cannot be used; the message says file and line, key, value and what is accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{place}: {reason}")]
    Syntax { place: Place, reason: String },
    #[error("{place}: {key}: {reason}")]
    Value { place: Place, key: String, reason: String },
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    File {
        path: PathBuf,
        line: usize,
    },
    /// Somewhere in the file.
    WholeFile(PathBuf),
    Variable(String),
    Flag(&'static str),
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::WholeFile(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// "; did you mean …?" if one of `known` is close to `name`, else nothing.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let closest = known
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match closest {
        Some((similarity, candidate)) if similarity > 0.6 => format!("; did you mean {candidate}?"),
        Some(_) | None => String::new(),
    }
}
