//! Auditing an export: a file of NDJSON that left the store.

use std::io::{self, BufRead, Read as _};

use quillwork_domain::export::Line;
use quillwork_domain::id::Position;
use quillwork_domain::payload::Sha256Digest;

use crate::audit::finding::{Finding, Report, Rule};
use crate::audit::log::LogAudit;

/// A longer line is no event.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// What the reader of an export knows besides the export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportStart {
    /// The hash of the event before the first line; without it, an export that starts later is taken on trust.
    pub previous_hash: Option<Sha256Digest>,
    /// The hash that the last line must have; without it, lines missing at the end do not show.
    pub head_hash: Option<Sha256Digest>,
}

/// Audits an export, line by line. Fails only if `lines` cannot be read.
pub fn verify_export(mut lines: impl BufRead, start: ExportStart) -> io::Result<Report> {
    let mut audit: Option<LogAudit> = None;
    let mut is_archive = false;
    let mut early = Vec::new();
    let mut warnings = Vec::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        match (parse(&line), &mut audit) {
            (Ok(Line::Archive(_)), None) if number == 1 => is_archive = true,
            (Ok(Line::Archive(_)), None) => {
                early.push((number, "the head of an archive stands in the first line only".into()));
            }
            (Ok(line), Some(audit)) => {
                audit.findings.line = Some(number);
                take(audit, &line);
            }
            (Ok(line), None) => {
                let mut begun = begin(&line, (start, is_archive), &mut warnings);
                begun.findings.line = Some(number);
                take(&mut begun, &line);
                audit = Some(begun);
            }
            (Err(message), Some(audit)) => {
                audit.findings.line = Some(number);
                audit.unreadable(Finding::new(Rule::Line, message));
            }
            (Err(message), None) => early.push((number, message)),
        }
        // The file is no export at all.
        if early.len() > 100 {
            break;
        }
    }
    let mut audit = audit.unwrap_or_else(|| LogAudit::after(Position::START, start.previous_hash));
    for (number, message) in early {
        audit.findings.line = Some(number);
        audit.findings.push(Finding::new(Rule::Line, message));
    }
    audit.close();
    if is_archive {
        warnings.push(
            "an archive says by itself what is before and behind its events; `audit verify --archive` compares it with the log"
                .to_owned(),
        );
    } else {
        check_head(&mut audit, start, &mut warnings);
    }
    if audit.holes.n_present() > 0 {
        warnings.push(format!(
            "{} runs of events were archived while the export was written, and are in it",
            audit.holes.n_present()
        ));
    }
    Ok(audit.into_report(warnings))
}

/// Checks one line.
fn take(audit: &mut LogAudit, line: &Line) {
    match line {
        Line::Event(recorded) => {
            audit.observe(recorded);
        }
        Line::Hole(run) => audit.jump(run),
        Line::Archive(_) => {
            let message = "the head of an archive stands in the first line only";
            audit.findings.push(Finding::new(Rule::Line, message));
        }
    }
}

fn begin(first: &Line, (start, is_archive): (ExportStart, bool), warnings: &mut Vec<String>) -> LogAudit {
    let position = match first {
        Line::Event(recorded) => recorded.position,
        Line::Hole(run) => run.first,
        Line::Archive(_) => Position(1),
    };
    if is_archive {
        let mut audit = LogAudit::after(Position::START, Some(quillwork_domain::chain::GENESIS));
        audit.holes.set_archive();
        return audit;
    }
    let before = Position(position.0.saturating_sub(1));
    if before == Position::START {
        return LogAudit::after(
            before,
            Some(start.previous_hash.unwrap_or(quillwork_domain::chain::GENESIS)),
        );
    }
    if start.previous_hash.is_none() {
        warnings.push(format!(
            "the export starts at event {}: its link to event {before} is taken on trust; give --previous-hash to check it",
            position
        ));
    }
    LogAudit::after(before, start.previous_hash)
}

/// Reads a line, which must be written exactly as the export writes it: the digits of a hash, say, in lower case.
fn parse(line: &[u8]) -> Result<Line, String> {
    let Some(text) = line.strip_suffix(b"\n") else {
        return Err("the line does not end: the export is cut off, or the line is too long".into());
    };
    let text = std::str::from_utf8(text).map_err(|error| format!("the line is not UTF-8: {error}"))?;
    let explain = |error: &dyn std::error::Error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let line = Line::read(text).map_err(|error| explain(&error))?;
    if line.write().map_err(|error| explain(&error))? != text {
        let what = match &line {
            Line::Event(recorded) => format!("event {}", recorded.position),
            Line::Hole(run) => format!("the hole from {}", run.first),
            Line::Archive(_) => "the head of the archive".to_owned(),
        };
        return Err(format!("{what} is not written as the export writes it: the line was changed"));
    }
    Ok(line)
}

fn check_head(audit: &mut LogAudit, start: ExportStart, warnings: &mut Vec<String>) {
    let head = audit.head();
    match start.head_hash {
        Some(expected) if expected != head.hash => {
            let message = format!(
                "the export ends at event {} with hash {}; expected the hash {expected}: events at the end are missing or others",
                head.position, head.hash
            );
            audit.findings.push(Finding::new(Rule::Head, message));
        }
        Some(_) => {}
        None => {
            warnings.push("whether events are missing at the end does not show without --head-hash".into())
        }
    }
}
