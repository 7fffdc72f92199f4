//! SQL through the client program: tests of any kind of code can use it, with a runtime or without.

use std::env;
use std::process::{Command, Stdio};

use crate::programs;

/// Runs SQL and returns its rows, one per line, columns divided by `|`. An error is what `psql` says.
pub(crate) fn run(url: &str, sql: &str) -> Result<String, String> {
    let mut command = Command::new(programs::find_client("psql"));
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    let output = command
        .env("PGCONNECT_TIMEOUT", "20")
        .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"])
        .args(["--dbname", url, "--command", sql])
        .stdin(Stdio::null())
        .output()
        .expect("cannot run psql");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
