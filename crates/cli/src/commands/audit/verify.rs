//! `audit verify`: is the log what it was?

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use quillwork_app::audit::{ExportStart, Report, Scope, verify_archive, verify_export, verify_store};
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
    /// Check an archive of events that left the log, and that the log names it.
    #[arg(long, value_name = "FILE", conflicts_with = "export")]
    archive: Option<PathBuf>,
    /// The hash of the event before the first one of the export.
    #[arg(long, value_name = "HASH", requires = "export")]
    previous_hash: Option<Sha256Digest>,
    /// The hash of the last event of the export.
    #[arg(long, value_name = "HASH", requires = "export")]
    head_hash: Option<Sha256Digest>,
}

pub(super) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let what = if args.archive.is_some() { "archive" } else { "log" };
    let report = match (args.export, args.archive) {
        (None, Some(path)) => verify_file(globals, &path).await?,
        (Some(path), _) => {
            let file =
                File::open(&path).with_context(|| format!("cannot read the export {}", path.display()))?;
            let start = ExportStart { previous_hash: args.previous_hash, head_hash: args.head_hash };
            verify_export(BufReader::new(file), start)
                .with_context(|| format!("cannot read the export {}", path.display()))?
        }
        (None, None) => verify_log(globals).await?,
    };
    if globals.json {
        output::json(&report)?;
    } else {
        print(&report, what)?;
    }
    Ok(if report.ok { 0 } else { FAILED })
}

async fn verify_file(globals: &Globals, path: &Path) -> anyhow::Result<Report> {
    let cannot = || format!("cannot read the archive {}", path.display());
    let settings = globals.load()?.settings;
    let log = match super::open_log(&settings).await? {
        Ok(log) => log,
        Err(Damaged(message)) => return Ok(Report::unopened(message)),
    };
    let compressed = std::fs::read(path).with_context(cannot)?;
    let lines = BufReader::new(zstd::Decoder::new(compressed.as_slice()).with_context(cannot)?);
    verify_archive(lines, Sha256Digest::of(&compressed), log.reader.as_ref()).await.with_context(cannot)
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

fn print(report: &Report, what: &str) -> anyhow::Result<()> {
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
    let verdict = if report.ok { "is intact" } else { "is NOT intact" };
    let gone = if report.archived > 0 { format!("; {} not here", report.archived) } else { String::new() };
    output::line(&format!(
        "the {what} {verdict}: {} events of {} jobs{gone}; head {} {}",
        report.events, report.jobs, report.head, report.head_hash
    ))
}
