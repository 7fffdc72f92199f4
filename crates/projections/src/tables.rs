//! The tables as their one writer holds them.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::path::Path;

use lru::LruCache;
use quillwork_app::feed::{Feed, Page};
use quillwork_app::ports::store::Entry;
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::job::Event;

use crate::backend::Writer;
use crate::changes::{Changes, Checkpoint};
use crate::job_summary::JobSummary;
use crate::projector::ProjectorError;
use crate::read_models::ReadModelError;
use crate::sqlite;

/// Rows of open jobs kept in memory. A job that is not among them is read back when it has news.
const LIVE_ROWS: usize = 2_000;

/// Events that one commit takes at most.
pub(crate) const BATCH_EVENTS: usize = 2_048;

/// The tables, what is known of their rows, and how far they are.
pub(crate) struct Tables {
    writer: Writer,
    live: LruCache<JobId, JobSummary>,
    checkpoint: Checkpoint,
}

impl Tables {
    /// The tables that `writer` may write and that are as far as `checkpoint`.
    pub(crate) fn new(writer: Writer, checkpoint: Checkpoint) -> Self {
        let live = LruCache::new(NonZeroUsize::new(LIVE_ROWS).unwrap_or(NonZeroUsize::MIN));
        Self { writer, live, checkpoint }
    }

    /// Those in an SQLite file, made if there are none.
    pub(crate) async fn open_sqlite(path: &Path) -> Result<Self, ReadModelError> {
        let mut connection = sqlite::open_writer(path).await?;
        let checkpoint = sqlite::checkpoint(&mut connection).await?;
        Ok(Self::new(Writer::Sqlite(Box::new(connection)), checkpoint))
    }

    /// The last event that the tables contain.
    pub(crate) fn position(&self) -> Position {
        self.checkpoint.position
    }

    /// Keeps our turn while there is nothing to write.
    pub(crate) async fn renew(&self) -> Result<(), ReadModelError> {
        match &self.writer {
            Writer::Sqlite(_) => Ok(()),
            Writer::Postgres(turn) if turn.renew().await? => Ok(()),
            Writer::Postgres(_) => Err(ReadModelError::CheckpointMoved { expected: self.position() }),
        }
    }

    /// Commits what the feed has, up to `until` and up to about [`BATCH_EVENTS`]; returns how many jobs changed.
    pub(crate) async fn catch_up(&mut self, feed: &Feed, until: Position) -> Result<usize, ProjectorError> {
        let mut pages: Vec<Page> = Vec::new();
        let mut n_events = 0;
        let mut position = self.position();
        while n_events < BATCH_EVENTS && position < until {
            let page = match feed.after(position, BATCH_EVENTS).await {
                Ok(page) => page,
                Err(error) if pages.is_empty() => return Err(error.into()),
                // What stands before the failure is good; it returns in the next round.
                Err(_) => break,
            };
            let Some(last) = page.last() else { break };
            position = last.recorded.position;
            n_events += page.len();
            pages.push(page);
        }
        let pages: Vec<&[Entry]> = pages.iter().map(Deref::deref).collect();
        self.project(&pages).await
    }

    /// Folds `pages`, which follow the checkpoint, and commits; returns how many jobs changed.
    ///
    /// After an error nothing is written and the value is of no more use.
    pub(crate) async fn project(&mut self, pages: &[&[Entry]]) -> Result<usize, ProjectorError> {
        let entries = || pages.iter().copied().flatten();
        if entries().next().is_none() {
            return Ok(0);
        }
        let mut changes = Changes::after(self.checkpoint);
        let mut begun = HashSet::new();
        let mut missing = Vec::new();
        let mut news_of_queues = false;
        for entry in entries() {
            let (jobs, begins): (Vec<JobId>, bool) = match (entry.recorded.stream, &entry.event) {
                (StreamId::Job(job), _) => (vec![job], entry.recorded.version == Version(1)),
                (StreamId::Archive, Event::Archive(archived)) => {
                    (archived.jobs.iter().map(|job| job.id).collect(), false)
                }
                (StreamId::Archive, _) => continue,
                (StreamId::Queues, _) => {
                    news_of_queues = true;
                    continue;
                }
            };
            for job in jobs {
                if !begun.insert(job) || begins {
                    continue;
                }
                match self.live.pop(&job) {
                    Some(row) => {
                        changes.jobs.insert(job, Some(row));
                    }
                    None => missing.push(job),
                }
            }
        }
        if !missing.is_empty() {
            for row in self.writer.rows(&missing).await? {
                changes.jobs.insert(row.id, Some(row));
            }
        }
        if news_of_queues {
            // Operators make few of these.
            let queues = self.writer.queues().await?;
            changes.queues = queues.into_iter().map(|row| (row.handler.clone(), row)).collect();
        }
        for entry in entries() {
            changes.fold(entry)?;
        }
        self.writer.write(self.checkpoint, &changes).await?;

        self.checkpoint = changes.through;
        let n_jobs = changes.jobs.len();
        for (id, row) in changes.jobs {
            if let Some(row) = row.filter(|row| !row.status.is_terminal()) {
                self.live.put(id, row);
            }
        }
        Ok(n_jobs)
    }

    pub(crate) async fn close(self) -> Result<(), ReadModelError> {
        self.writer.close().await
    }
}
