//! The programs that are measured and that measure.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::report;

/// A line of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds a program as it is released; returns where it is.
pub(super) fn release(package: &str, kind: &[&str], name: &str) -> Result<PathBuf> {
    let mut args = vec!["build", "--release", "--locked", "--package", package];
    args.extend(kind);
    args.push(name);
    report(&format!("cargo {}", args.join(" ")));
    let mut command = Command::new("cargo");
    command.args(args).arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("{name} does not build");
    }
    executable(&String::from_utf8_lossy(&output.stdout), name)
        .with_context(|| format!("cargo does not say where {name} is"))
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter(|message| message.target.as_ref().is_some_and(|target| target.name == name))
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"quillwork"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/release/other"}
{"reason":"compiler-artifact","target":{"name":"quillwork"},"executable":"/t/release/quillwork"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "quillwork"), Some("/t/release/quillwork".into()));
        assert_eq!(executable(messages, "raw_limits"), None);
    }
}
