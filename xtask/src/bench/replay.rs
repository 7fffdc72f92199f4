//! How fast the log is read again: rebuilds and an audit, on the data that a load left.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::figures::Replay;
use super::server::command;

#[derive(Deserialize)]
struct Audit {
    ok: bool,
    events: u64,
}

/// Measures on the store of `place`, which no process has open.
#[expect(clippy::cast_precision_loss, reason = "what a benchmark counts fits")]
pub(super) fn measure(binary: &Path, place: &[String]) -> Result<Replay> {
    let (audit, verified) = run(binary, &["audit", "verify"], place)?;
    let audit: Audit = serde_json::from_str(&audit).context("the audit's report is not what was expected")?;
    if !audit.ok {
        bail!("the audit found something: the figures are worth nothing");
    }
    let (_, fold) = run(binary, &["rebuild", "--only-queue"], place)?;
    let (_, read_models) = run(binary, &["rebuild", "--only-read-models"], place)?;
    let per_second = |seconds: f64| audit.events as f64 / seconds;
    Ok(Replay {
        events: audit.events,
        fold: per_second(fold),
        read_models: per_second(read_models),
        audit: per_second(verified),
    })
}

/// What a command says as JSON, and the seconds that it took.
fn run(binary: &Path, what: &[&str], place: &[String]) -> Result<(String, f64)> {
    let mut command = command(binary);
    let began = Instant::now();
    let output = command.args(what).args(place).arg("--json").output().context("cannot run quillwork")?;
    let seconds = began.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("quillwork {} failed: {said}{}", what.join(" "), String::from_utf8_lossy(&output.stdout));
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), seconds))
}
