//! Retention: which finished jobs leave the log, when, and where to.

mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use quillwork_app::archive::{ArchiveError, ArchiveWish, Archived, MAX_JOBS, archive};
use quillwork_app::clock;
use quillwork_app::engine::{Caller, Engine};
use quillwork_app::ports::store::{LogReader, LogWriter};
use quillwork_domain::archive::Kept;
use quillwork_domain::id::{JobId, Version};
use quillwork_domain::time::Timestamp;
use quillwork_projections::ReadModels;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::RetentionSettings;
use crate::local::process_name;

/// How often a process whose projector stands by looks whether it has the turn.
const STANDBY: Duration = Duration::from_secs(5);

/// Who writes.
pub(crate) enum Hand {
    /// Of a process that works.
    Engine(Engine),
    /// Of a command.
    Writer(Box<dyn LogWriter>),
}

impl Hand {
    async fn archive(&mut self, pass: &Pass, wish: ArchiveWish) -> Result<Archived, ArchiveError> {
        match self {
            Self::Engine(engine) => engine.archive(pass.caller.clone(), wish).await,
            Self::Writer(writer) => archive(writer.as_mut(), pass.reader.as_ref(), &pass.caller, &wish).await,
        }
    }
}

/// What a pass takes out of the log.
pub(crate) struct Pass {
    pub(crate) models: ReadModels,
    pub(crate) reader: Arc<dyn LogReader>,
    /// Jobs that ended before this time.
    pub(crate) cutoff: Timestamp,
    /// Absent to drop the events.
    pub(crate) archive_dir: Option<PathBuf>,
    pub(crate) caller: Caller,
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Done {
    pub(crate) jobs: u64,
    pub(crate) events: u64,
    pub(crate) files: Vec<PathBuf>,
}

/// The time before which a job must have ended to be older than `age`.
pub(crate) fn cutoff(age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(clock::now().as_millis().saturating_sub(age))
}

/// Whoever archives, as events name him.
pub(crate) fn caller(what: &str) -> Caller {
    Caller {
        actor: format!("{what} {}", process_name()).into(),
        tenant: "default".into(),
        correlation_id: Uuid::now_v7(),
        traceparent: None,
    }
}

/// Archives by the policy of the settings as long as the projector of this process has the turn; until `stop`.
pub(crate) async fn keep(
    settings: RetentionSettings,
    models: ReadModels,
    engine: Engine,
    reader: Arc<dyn LogReader>,
    stop: CancellationToken,
) {
    let Some(age) = settings.keep else { return };
    loop {
        let mut wait = settings.interval.0;
        if models.is_written_here() {
            let pass = Pass {
                models: models.clone(),
                reader: reader.clone(),
                cutoff: cutoff(age.0),
                archive_dir: settings.archive_dir.clone(),
                caller: caller("retention"),
            };
            let done = stop.run_until_cancelled(run(&pass, &mut Hand::Engine(engine.clone()))).await;
            match done {
                None => return,
                Some(Ok(done)) if done.jobs > 0 => {
                    tracing::info!(done.jobs, done.events, files = ?done.files, "archived finished jobs");
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "finished jobs could not be archived; the next try is after retention.interval"
                    );
                }
            }
        } else {
            wait = wait.min(STANDBY);
        }
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

/// Takes everything out of the log that is old enough, one commit after the other.
pub(crate) async fn run(pass: &Pass, hand: &mut Hand) -> anyhow::Result<Done> {
    let mut done = Done::default();
    let mut after = None;
    loop {
        let page = pass.models.finished(pass.cutoff, after.as_ref(), MAX_JOBS).await?;
        let Some(last) = page.last() else { return Ok(done) };
        let jobs = page.iter().map(|job| (job.id, job.version)).collect();
        after = Some(last.clone());
        batch(pass, hand, jobs, &mut done).await?;
    }
}

/// Archives these jobs, but for those that must stay.
async fn batch(
    pass: &Pass,
    hand: &mut Hand,
    mut jobs: Vec<(JobId, Version)>,
    done: &mut Done,
) -> anyhow::Result<()> {
    while !jobs.is_empty() {
        let written = match &pass.archive_dir {
            None => None,
            Some(dir) => {
                let written = file::write(pass.reader.as_ref(), &mut jobs, pass.cutoff, dir)
                    .await
                    .with_context(|| format!("cannot write an archive in {}", dir.display()))?;
                if written.is_none() {
                    return Ok(());
                }
                written
            }
        };
        let (path, file) = written.unzip();
        let wish = ArchiveWish { jobs: jobs.clone(), through: pass.cutoff, file };
        match hand.archive(pass, wish).await {
            Ok(archived) => {
                done.jobs += archived.jobs;
                done.events += archived.events;
                done.files.extend(path);
                return Ok(());
            }
            Err(ArchiveError::Kept(kept)) => {
                // Nothing was written: the file is of no use.
                if let Some(path) = &path {
                    remove(path);
                }
                report(&kept);
                let before = jobs.len();
                jobs.retain(|(job, _)| !kept.iter().any(|(stays, _)| stays == job));
                anyhow::ensure!(jobs.len() < before, "the jobs were refused without a reason");
            }
            Err(error @ (ArchiveError::Store(_) | ArchiveError::ShuttingDown)) => {
                return Err(match &path {
                    Some(path) => anyhow::Error::new(error).context(format!(
                        "whether jobs left the log is not known; keep {} if `quillwork audit verify --archive` finds it in the log",
                        path.display()
                    )),
                    None => error.into(),
                });
            }
        }
    }
    Ok(())
}

/// Jobs that left or were set going since the read models were asked are nothing to worry about.
fn report(kept: &[(JobId, Kept)]) {
    for (job, reason) in kept {
        match reason {
            Kept::Absent | Kept::Open | Kept::TooYoung | Kept::Changed => {
                tracing::debug!(%job, %reason, "a job is not archived");
            }
            Kept::Undecodable | Kept::Unlinked => tracing::warn!(%job, %reason, "a job is not archived"),
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "an archive that is of no use could not be removed");
    }
}
