//! Auditing a store: its log, and everything that is derived from it.

use std::collections::{HashMap, HashSet};

use quillwork_domain::chain;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{Position, StreamId};
use quillwork_domain::payload::{BlobRef, Sha256Digest};

use crate::audit::finding::{Finding, Report, Rule};
use crate::audit::holes;
use crate::audit::log::{LogAudit, shorten};
use crate::audit::queue::{DerivedTask, PAGE, tasks_of};
use crate::ports::store::{Head, LogReader, StoreError, TaskKey};

/// Rows read from the queue, the keys and the blobs at a time.
const ROWS: usize = 1_000;

/// What an audit of a store covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything. Nobody may write meanwhile.
    Everything,
    /// The log up to its present head, with its outputs; queue and keys move while another process writes.
    Log,
}

/// Audits what `reader` can reach. What is too damaged to be read is a finding, not an error.
///
/// `progress` is told the position that was reached and the position of the head.
pub async fn verify_store(
    reader: &dyn LogReader,
    scope: Scope,
    mut progress: impl FnMut(Position, Position),
) -> Result<Report, StoreError> {
    let mut audit = LogAudit::after(Position::START, Some(chain::GENESIS));
    let mut blobs = HashSet::new();
    for complaint in readable(&mut audit, reader.check().await)?.unwrap_or_default() {
        audit.findings.push(Finding::new(Rule::Store, complaint));
    }
    let mut head = readable(&mut audit, reader.head().await)?;
    let mut last = match (scope, head) {
        (Scope::Log, Some(head)) => head.position,
        (Scope::Everything, _) | (Scope::Log, None) => Position(u64::MAX),
    };
    audit.holes.settle(last);
    let mut position = Position::START;
    while position < last {
        let page = match reader.read_all(position, PAGE).await {
            Ok(page) => page,
            Err(StoreError::Corrupt(_)) => {
                let n_read = audit.events();
                let end = head.map_or(Position(u64::MAX), |head| head.position);
                let reached = read_singly(reader, position, end, &mut audit, &mut blobs).await?;
                if audit.events() == n_read {
                    let message = format!("no event after event {position} can be read");
                    audit.findings.push(Finding::new(Rule::Store, message));
                    break;
                }
                position = reached;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(end) = page.last().map(|recorded| recorded.position) else { break };
        for recorded in &page {
            if cross(reader, &mut audit, (recorded.position, scope)).await? && scope == Scope::Log {
                // The events that tell of these holes may be later than the head was.
                head = readable(&mut audit, reader.head().await)?.or(head);
                last = head.map_or(last, |head| head.position);
            }
            if recorded.position > last {
                break;
            }
            observe(reader, &mut audit, &mut blobs, recorded).await?;
        }
        position = end;
        progress(position, head.map_or(position, |head| head.position));
    }
    audit.close();
    check_head(&mut audit, head);
    let warnings = match scope {
        Scope::Everything => {
            let checked = check_queue(reader, &mut audit).await;
            readable(&mut audit, checked)?;
            let checked = check_keys(reader, &mut audit).await;
            readable(&mut audit, checked)?;
            let counted = holes::count(reader).await;
            if let Some(n_holes) = readable(&mut audit, counted)?
                && n_holes != audit.holes.n_told()
            {
                let message =
                    format!("the store has {n_holes} holes, the log tells of {}", audit.holes.n_told());
                audit.findings.push(Finding::new(Rule::Archive, message));
            }
            readable(&mut audit, unreferenced(reader, &blobs).await)?.unwrap_or_default()
        }
        Scope::Log => {
            vec!["queue and idempotency keys were not compared: another process is writing".to_owned()]
        }
    };
    Ok(audit.into_report(warnings))
}

/// Goes on behind the holes before the event at `found`; true if there were any.
async fn cross(
    reader: &dyn LogReader,
    audit: &mut LogAudit,
    (found, scope): (Position, Scope),
) -> Result<bool, StoreError> {
    if audit.next() >= found {
        return Ok(false);
    }
    let runs = holes::runs_between(reader, audit.next(), found).await;
    let runs = readable(audit, runs)?.unwrap_or_default();
    if scope == Scope::Log && runs.first().is_some_and(|run| run.first < audit.next()) {
        return Err(StoreError::Unavailable("jobs were archived where the audit was; run it again".into()));
    }
    runs.iter().for_each(|run| audit.jump(run));
    Ok(!runs.is_empty())
}

/// Turns damage that keeps something from being read into a finding.
fn readable<T>(audit: &mut LogAudit, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Corrupt(message)) => {
            audit.findings.push(Finding::new(Rule::Store, message));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn check_head(audit: &mut LogAudit, head: Option<Head>) {
    let found = audit.head();
    if let Some(head) = head.filter(|head| *head != found) {
        let message = format!(
            "the head says event {} with hash {}; the last event is {} with hash {}",
            head.position, head.hash, found.position, found.hash
        );
        audit.findings.push(Finding::new(Rule::Head, message));
    }
}

/// Reads a page with damaged events one by one, not beyond `head`; returns where it ends.
async fn read_singly(
    reader: &dyn LogReader,
    after: Position,
    head: Position,
    audit: &mut LogAudit,
    blobs: &mut HashSet<u128>,
) -> Result<Position, StoreError> {
    let mut position = after;
    let end = Position(after.0.saturating_add(PAGE as u64).min(head.0.max(after.0 + 1)));
    while position < end {
        match reader.read_all(position, 1).await {
            Ok(page) => {
                let Some(recorded) = page.first() else { return Ok(end) };
                position = recorded.position;
                cross(reader, audit, (position, Scope::Everything)).await?;
                observe(reader, audit, blobs, recorded).await?;
            }
            Err(StoreError::Corrupt(message)) => {
                position = position.next();
                // The damaged event is the one behind a hole, if there is one.
                if let Some(run) = reader.archived_runs(Position(position.0 - 1), 1).await?.first()
                    && run.first <= position
                {
                    audit.jump(run);
                    position = run.last;
                    continue;
                }
                let message = format!("the event cannot be read: {message}");
                audit.unreadable(Finding::new(Rule::Decode, message).at(position));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(position)
}

/// Checks an event, and the output it refers to.
async fn observe(
    reader: &dyn LogReader,
    audit: &mut LogAudit,
    blobs: &mut HashSet<u128>,
    recorded: &Recorded,
) -> Result<(), StoreError> {
    match audit.observe(recorded) {
        Some(blob) => check_blob(reader, audit, blobs, blob, (recorded.position, recorded.stream)).await,
        None => Ok(()),
    }
}

/// Checks that an output is there and is what its event says, once.
async fn check_blob(
    reader: &dyn LogReader,
    audit: &mut LogAudit,
    seen: &mut HashSet<u128>,
    blob: BlobRef,
    (position, stream): (Position, StreamId),
) -> Result<(), StoreError> {
    if !seen.insert(shorten(blob.sha256.0)) {
        return Ok(());
    }
    let wrong = match reader.blob(blob.sha256).await {
        Ok(None) => Some("is missing".to_owned()),
        Ok(Some(bytes)) if Sha256Digest::of(&bytes) != blob.sha256 => {
            Some(format!("was changed: its digest is {}", Sha256Digest::of(&bytes)))
        }
        Ok(Some(bytes)) if bytes.len() as u64 != blob.bytes => {
            Some(format!("has {} bytes, the event says {}", bytes.len(), blob.bytes))
        }
        Ok(Some(_)) => None,
        Err(StoreError::Corrupt(message)) => Some(format!("cannot be read: {message}")),
        Err(error) => return Err(error),
    };
    if let Some(wrong) = wrong {
        let finding = Finding::new(Rule::Blob, format!("blob {} {wrong}", blob.sha256));
        audit.findings.push(finding.at(position).of(stream));
    }
    Ok(())
}

/// Compares the queue with the one that follows from the log.
async fn check_queue(reader: &dyn LogReader, audit: &mut LogAudit) -> Result<(), StoreError> {
    let mut derived: HashMap<TaskKey, DerivedTask> =
        tasks_of(&audit.jobs).into_iter().map(|derived| (derived.task.key, derived)).collect();
    let mut after = None;
    loop {
        let page = reader.tasks(after, ROWS).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.key);
        for (task, lease) in page {
            let job = task.key.job;
            let stored = DerivedTask { task, held: lease.is_some() };
            let wrong = match derived.remove(&stored.task.key) {
                Some(derived) if derived == stored => continue,
                Some(derived) => {
                    format!("a task differs from the log: expected {derived:?}, found {stored:?}")
                }
                // What follows from the events of this job is not known.
                None if audit.jobs.is_unfollowed(job) => continue,
                None => format!("a task does not follow from the log: {stored:?}"),
            };
            audit.findings.push(Finding::new(Rule::Queue, wrong).of(job));
        }
    }
    let mut missing: Vec<TaskKey> = derived.into_keys().collect();
    missing.sort_unstable();
    for key in missing {
        let message = format!("the task of stage {} is missing; run `quillwork rebuild`", key.stage.0);
        audit.findings.push(Finding::new(Rule::Queue, message).of(key.job));
    }
    Ok(())
}

/// Compares the idempotency keys with those of the submitted jobs.
async fn check_keys(reader: &dyn LogReader, audit: &mut LogAudit) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = reader.keys(after.take(), ROWS).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, owner) in page {
            if !audit.keys.remove(&key, &owner) && !audit.jobs.is_unfollowed(owner.job) {
                let message =
                    format!("key {:?} of tenant {:?} is not that of a submission", key.key, key.tenant);
                audit.findings.push(Finding::new(Rule::Keys, message).of(owner.job));
            }
        }
    }
    if audit.keys.len() > 0 {
        let message = format!("{} idempotency keys are missing; run `quillwork rebuild`", audit.keys.len());
        audit.findings.push(Finding::new(Rule::Keys, message));
    }
    Ok(())
}

/// Says how many blobs no event refers to.
async fn unreferenced(reader: &dyn LogReader, referenced: &HashSet<u128>) -> Result<Vec<String>, StoreError> {
    let (mut n_unreferenced, mut first) = (0_u64, None);
    let mut after = None;
    loop {
        let page = reader.blobs(after, ROWS).await?;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        for digest in page {
            if !referenced.contains(&shorten(digest.0)) {
                n_unreferenced += 1;
                first.get_or_insert(digest);
            }
        }
    }
    Ok(first
        .map(|first| format!("{n_unreferenced} blobs are referred to by no event; the first is {first}"))
        .into_iter()
        .collect())
}
