//! Auditing a file of archived events, and comparing it with the log that they left.

use std::io::BufRead;

use quillwork_domain::payload::Sha256Digest;

use crate::audit::export::{ExportStart, verify_export};
use crate::audit::finding::{Finding, Report, Rule};
use crate::audit::holes::find_archive;
use crate::ports::store::{LogReader, StoreError};

/// An archive could not be audited.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveAuditError {
    #[error("the archive cannot be read")]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Audits the lines of an archive, the digest of whose file is `sha256`, and looks for the event that names it.
pub async fn verify_archive(
    lines: impl BufRead,
    sha256: Sha256Digest,
    reader: &dyn LogReader,
) -> Result<Report, ArchiveAuditError> {
    let mut report = verify_export(lines, ExportStart::default())?;
    report.warnings.clear();
    let wrong = match find_archive(reader, sha256).await? {
        None => Some((None, format!("no event of the log names a file with the digest {sha256}"))),
        Some((position, archived)) => {
            let n_events = archived.file.map_or(0, |file| file.events);
            let n_jobs = archived.jobs.len() as u64;
            let differs = (n_events, n_jobs) != (report.events, report.jobs);
            differs.then(|| {
                let said = format!("{n_events} events of {n_jobs} jobs");
                let message =
                    format!("the log says {said}, the file has {} of {}", report.events, report.jobs);
                (Some(position), message)
            })
        }
    };
    if let Some((position, message)) = wrong {
        report.ok = false;
        report.findings.push(Finding { position, ..Finding::new(Rule::Archive, message) });
    }
    Ok(report)
}
