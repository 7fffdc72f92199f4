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

/// How often each is measured, in turns.
const REPEATS: usize = 3;

/// Measures on the store of `place`, which no process has open.
#[expect(clippy::cast_precision_loss, reason = "what a benchmark counts fits")]
pub(super) fn measure(binary: &Path, place: &[String]) -> Result<Replay> {
    let (mut audit, mut fold, mut read_models) = (Vec::new(), Vec::new(), Vec::new());
    let mut events = 0;
    for _ in 0..REPEATS {
        let (report, seconds) = run(binary, &["audit", "verify"], place)?;
        let report: Audit =
            serde_json::from_str(&report).context("the audit's report is not what was expected")?;
        if !report.ok {
            bail!("the audit found something: the figures are worth nothing");
        }
        events = report.events;
        audit.push(seconds);
        fold.push(run(binary, &["rebuild", "--only-queue"], place)?.1);
        read_models.push(run(binary, &["rebuild", "--only-read-models"], place)?.1);
    }
    let per_second = |seconds: Vec<f64>| events as f64 / median(seconds);
    Ok(Replay {
        events,
        fold: per_second(fold),
        read_models: per_second(read_models),
        audit: per_second(audit),
    })
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
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
