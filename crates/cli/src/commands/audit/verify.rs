//! `audit verify`: is the log what it was?

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use quillwork_app::audit::{ExportStart, Report, Scope, verify_export, verify_store};
use quillwork_domain::payload::Sha256Digest;

use super::Damaged;
use crate::cli::Globals;
use crate::exit::FAILED;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check an export instead of the store.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// The hash of the event before the first one of the export.
    #[arg(long, value_name = "HASH", requires = "export")]
    previous_hash: Option<Sha256Digest>,
    /// The hash of the last event of the export.
    #[arg(long, value_name = "HASH", requires = "export")]
    head_hash: Option<Sha256Digest>,
}

pub(super) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let report = match args.export {
        Some(path) => {
            let file =
                File::open(&path).with_context(|| format!("cannot read the export {}", path.display()))?;
            let start = ExportStart { previous_hash: args.previous_hash, head_hash: args.head_hash };
            verify_export(BufReader::new(file), start)
                .with_context(|| format!("cannot read the export {}", path.display()))?
        }
        None => verify_log(globals).await?,
    };
    if globals.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(if report.ok { 0 } else { FAILED })
}

async fn verify_log(globals: &Globals) -> anyhow::Result<Report> {
    let settings = globals.load()?.settings;
    let log = match super::open_log(&settings).await? {
        Ok(log) => log,
        Err(Damaged(message)) => return Ok(Report::unopened(message)),
    };
    let scope = if log.still { Scope::Everything } else { Scope::Log };
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} events, {eta} left")?);
    let report = verify_store(log.reader.as_ref(), scope, |position, head| {
        bar.set_length(head.0);
        bar.set_position(position.0);
    })
    .await
    .context("the audit could not be done")?;
    bar.finish_and_clear();
    Ok(report)
}

fn print(report: &Report) -> anyhow::Result<()> {
    for warning in &report.warnings {
        output::note(&format!("note: {warning}"));
    }
    if !report.findings.is_empty() {
        let rows = report.findings.iter().map(|finding| {
            let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
            [
                finding.rule.to_string(),
                number(finding.position.map(|position| position.0)),
                number(finding.line),
                finding.job.map(|job| job.to_string()).unwrap_or_default(),
                finding.message.clone(),
            ]
        });
        output::table(["RULE", "POSITION", "LINE", "JOB", "FINDING"], rows)?;
        if report.unlisted > 0 {
            output::line(&format!("… and {} more", report.unlisted))?;
        }
        output::line("")?;
    }
    let verdict = if report.ok { "the log is intact" } else { "the log is NOT intact" };
    output::line(&format!(
        "{verdict}: {} events of {} jobs; head {} {}",
        report.events, report.jobs, report.head, report.head_hash
    ))
}
