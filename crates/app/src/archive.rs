//! Retention: taking finished jobs out of the log, in one commit with the event that says so.

use std::collections::BTreeMap;

use quillwork_domain::archive::{self, ArchiveFile, Candidate, Kept};
use quillwork_domain::chain;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::job::Event;
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use uuid::Uuid;

use crate::audit::key_of;
use crate::engine::Caller;
use crate::ports::store::{
    Batch, CommitError, Entry, Head, IdempotencyKey, LogReader, LogWriter, Removal, StoreError, Survey,
};

/// Jobs that one commit archives at most: the log is locked meanwhile.
pub const MAX_JOBS: usize = 250;

/// How often one request is planned anew because the log moved under it.
const MAX_REPLANS: usize = 8;

/// Jobs to archive, all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveWish {
    /// Each once, with its last version, at most [`MAX_JOBS`].
    pub jobs: Vec<(JobId, Version)>,
    /// All of them ended before this time.
    pub through: Timestamp,
    /// Has all of their events, and is on disk; None drops them.
    pub file: Option<ArchiveFile>,
}

/// The jobs have left the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Of the event that says so.
    pub position: Position,
    pub jobs: u64,
    /// How many events left.
    pub events: u64,
}

/// The jobs were not archived, or it is not known whether they were.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Nothing was written: these jobs must stay.
    #[error("{} of the jobs cannot be archived", .0.len())]
    Kept(Vec<(JobId, Kept)>),
    /// The outcome is not known: a file of the events must be kept.
    #[error("the log could not be written, or its answer was lost: {0}")]
    Store(#[from] StoreError),
    /// The outcome is not known, either.
    #[error("the service is shutting down")]
    ShuttingDown,
}

/// What a commit did, for whoever follows the log in memory.
pub(crate) struct Done {
    /// What the log was before.
    pub(crate) before: Survey,
    pub(crate) head: Head,
    pub(crate) entries: Vec<Entry>,
    pub(crate) archived: Archived,
}

/// Archives on a writer of one's own, for commands; a process with an engine asks the engine.
pub async fn archive(
    writer: &mut dyn LogWriter,
    reader: &dyn LogReader,
    caller: &Caller,
    wish: &ArchiveWish,
) -> Result<Archived, ArchiveError> {
    commit(writer, reader, caller, wish).await.map(|done| done.archived)
}

/// Loads the jobs, decides, and commits.
pub(crate) async fn commit(
    writer: &mut dyn LogWriter,
    reader: &dyn LogReader,
    caller: &Caller,
    wish: &ArchiveWish,
) -> Result<Done, ArchiveError> {
    let done = try_commit(writer, reader, caller, wish).await;
    if done.is_err() {
        // Whatever the store has of it, others must not wait for this process.
        let _ = writer.unlock().await;
    }
    done
}

async fn try_commit(
    writer: &mut dyn LogWriter,
    reader: &dyn LogReader,
    caller: &Caller,
    wish: &ArchiveWish,
) -> Result<Done, ArchiveError> {
    for _ in 0..MAX_REPLANS {
        // The bulk is read before others are kept out; what came in between is little.
        let from_start: Vec<_> = wish.jobs.iter().map(|(job, _)| ((*job).into(), Version(0))).collect();
        let mut streams = writer.load(&from_start).await?;
        let hashes = edge_hashes(reader, streams.iter().flatten().map(|event| event.position)).await?;
        let before = writer.lock().await?;
        let known = |events: &Vec<Recorded>| events.last().map_or(Version(0), |event| event.version);
        let after: Vec<_> =
            from_start.iter().zip(&streams).map(|((id, _), seen)| (*id, known(seen))).collect();
        for (stream, news) in streams.iter_mut().zip(writer.load(&after).await?) {
            stream.extend(news);
        }
        let version = writer.version(StreamId::Archive).await?.next();
        let (batch, head) = plan(wish, caller, (&streams, &hashes), (before, version))?;
        match writer.commit(before.head, &batch).await {
            Ok(()) => {
                let events = streams.iter().map(|events| events.len() as u64).sum();
                let archived = Archived { position: head.position, jobs: wish.jobs.len() as u64, events };
                return Ok(Done { before, head, entries: batch.entries, archived });
            }
            Err(CommitError::HeadMoved | CommitError::Fenced(_)) => {}
            Err(CommitError::Store(error)) => return Err(error.into()),
        }
    }
    Err(StoreError::Unavailable("other writers were faster every time".into()).into())
}

/// The hash directly before each run of neighbours among `positions`, as far as the log has it. None of them can change.
pub async fn edge_hashes(
    reader: &dyn LogReader,
    positions: impl IntoIterator<Item = Position>,
) -> Result<BTreeMap<Position, Sha256Digest>, StoreError> {
    let mut hashes = BTreeMap::from([(Position::START, chain::GENESIS)]);
    for edge in archive::edges(positions) {
        let Some(before) = edge.0.checked_sub(1).map(Position) else { continue };
        let event = reader.read_all(before, 1).await?.pop().filter(|event| event.position == edge);
        let hash = match event {
            Some(event) => Some(event.hash),
            // The end of an earlier hole.
            None => {
                let run = reader.archived_runs(before, 1).await?.pop();
                run.filter(|run| run.last == edge).map(|run| run.hash)
            }
        };
        hashes.extend(hash.map(|hash| (edge, hash)));
    }
    Ok(hashes)
}

/// The one commit: the event, and what it removes. With the head that it makes.
fn plan(
    wish: &ArchiveWish,
    caller: &Caller,
    (streams, hashes): (&[Vec<Recorded>], &BTreeMap<Position, Sha256Digest>),
    (before, version): (Survey, Version),
) -> Result<(Batch, Head), ArchiveError> {
    let candidates: Vec<Candidate<'_>> = wish
        .jobs
        .iter()
        .zip(streams)
        .map(|((job, version), events)| Candidate { job: *job, version: *version, events })
        .collect();
    let archived =
        archive::archive(&candidates, hashes, wish.through, wish.file.clone()).map_err(ArchiveError::Kept)?;
    let removal = Removal {
        streams: wish.jobs.iter().map(|(job, version)| ((*job).into(), *version)).collect(),
        keys: streams.iter().flatten().filter_map(key).collect(),
        runs: archived.runs.clone(),
    };
    let event = Event::Archive(archived);
    let encoded = wire::encode(&event)
        .map_err(|error| StoreError::Unavailable(format!("cannot encode an event: {error}")))?;
    let Head { position, hash } = before.head;
    let mut recorded = Recorded {
        position: position.next(),
        stream: StreamId::Archive,
        version,
        event_id: Uuid::now_v7(),
        kind: encoded.kind.into(),
        schema_version: encoded.schema_version,
        data: encoded.data,
        meta: caller.meta(),
        recorded_at: before.now,
        hash: chain::GENESIS,
    };
    recorded.hash = chain::link(&hash, &recorded);
    let head = Head { position: recorded.position, hash: recorded.hash };
    Ok((Batch { entries: vec![Entry { recorded, event }], removal, ..Batch::default() }, head))
}

/// The idempotency key that an event of a job took.
fn key(recorded: &Recorded) -> Option<IdempotencyKey> {
    let Ok(Event::JobSubmitted(submitted)) = wire::decode(recorded) else { return None };
    key_of(&recorded.meta.tenant, recorded.stream.job()?, &submitted).map(|(key, _)| key)
}
