//! The tables as their one writer holds them.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use lru::LruCache;
use quillwork_app::feed::Feed;
use quillwork_app::ports::store::Entry;
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::job::Event;

use crate::backend::Writer;
use crate::changes::{Changed, Changes, Checkpoint};
use crate::content_analytics::{ContentAnalytics, ContentChanges, Wanted};
use crate::projector::ProjectorError;
use crate::read_models::ReadModelError;
use crate::sqlite::{self, Indexes};

/// Rows of open jobs kept in memory. A job that is not among them is read back when it has news.
const LIVE_ROWS: usize = 2_000;

/// Events that are taken from the feed at once.
pub(crate) const PAGE_EVENTS: usize = 2_048;

/// Rows of jobs, attempts and labels that one commit takes, about. More than these are not waited for.
const COMMIT_ROWS: usize = 4_000;

/// The tables, what is known of their rows, and how far they are.
pub(crate) struct Tables {
    writer: Writer,
    live: LruCache<JobId, Changed>,
    articles: LruCache<JobId, ContentAnalytics>,
    /// As it is in the tables.
    checkpoint: Checkpoint,
    /// What is folded and not committed.
    news: Changes,
    filling: bool,
}

impl Tables {
    /// The tables that `writer` may write and that are as far as `checkpoint`.
    pub(crate) fn new(writer: Writer, checkpoint: Checkpoint) -> Self {
        let news = Changes::after(checkpoint);
        Self { writer, live: live(LIVE_ROWS), articles: live(LIVE_ROWS), checkpoint, news, filling: false }
    }

    /// Those in an SQLite file, made if there are none.
    pub(crate) async fn open_sqlite(path: &Path) -> Result<Self, ReadModelError> {
        let (writer, checkpoint) = sqlite::Writer::open(path, Indexes::AtOnce).await?;
        Ok(Self::new(Writer::Sqlite(writer), checkpoint))
    }

    /// New tables without indexes that nobody reads before [`Tables::settle`]. Rows of open jobs are written then, but for
    /// those that are more than `n_rows`.
    pub(crate) fn filling(writer: Writer, checkpoint: Checkpoint, n_rows: usize) -> Self {
        Self { live: live(n_rows), filling: true, ..Self::new(writer, checkpoint) }
    }

    /// The last event that the tables contain.
    pub(crate) fn position(&self) -> Position {
        self.checkpoint.position
    }

    /// The last event that is folded.
    pub(crate) fn folded(&self) -> Position {
        self.news.through.position
    }

    /// True if something is folded and not committed.
    pub(crate) fn has_news(&self) -> bool {
        self.folded() > self.position()
    }

    /// True if the next commit should not wait for more.
    pub(crate) fn has_enough(&self) -> bool {
        let Changes { jobs, timeline, labels, contents, .. } = &self.news;
        let n_contents = contents.rows.len() + contents.raters.len();
        jobs.len() + timeline.len() + labels.len() + n_contents >= COMMIT_ROWS
    }

    /// Keeps our turn while there is nothing to write.
    pub(crate) async fn renew(&mut self) -> Result<(), ReadModelError> {
        let is_ours = match &mut self.writer {
            Writer::Sqlite(_) => true,
            Writer::Postgres(turn) => turn.renew().await?,
        };
        if is_ours {
            return Ok(());
        }
        Err(ReadModelError::CheckpointMoved { expected: self.position() })
    }

    /// Folds the next events that the feed has; returns how many.
    pub(crate) async fn fold_from(&mut self, feed: &Feed) -> Result<usize, ProjectorError> {
        let page = match feed.after(self.folded(), PAGE_EVENTS).await {
            Ok(page) => page,
            Err(error) => {
                // What stands before the failure is good.
                self.commit().await?;
                return Err(error.into());
            }
        };
        self.fold(&page).await?;
        Ok(page.len())
    }

    /// Folds `entries`, which follow what is folded. After an error the value is of no more use.
    pub(crate) async fn fold(&mut self, entries: &[Entry]) -> Result<(), ProjectorError> {
        let mut missing = HashSet::new();
        let mut news_of_queues = false;
        let mut look = |job, begins| {
            if begins {
                // It has no row, which is known without looking.
                self.news.jobs.entry(job).or_default();
            } else if !self.news.jobs.contains_key(&job) {
                match self.live.pop(&job) {
                    Some(row) => drop(self.news.jobs.insert(job, row)),
                    None => drop(missing.insert(job)),
                }
            }
        };
        for entry in entries {
            match (entry.recorded.stream, &entry.event) {
                (StreamId::Job(job), _) => look(job, entry.recorded.version == Version(1)),
                (StreamId::Archive, Event::Archive(archived)) => {
                    archived.jobs.iter().for_each(|job| look(job.id, false));
                }
                (StreamId::Archive | StreamId::Content(_), _) => {}
                (StreamId::Queues, _) => news_of_queues = true,
            }
        }
        if !missing.is_empty() {
            for row in self.writer.rows(missing.into_iter().collect()).await? {
                self.news.jobs.insert(row.id, Changed::stored(row));
            }
        }
        if news_of_queues && self.news.queues.is_empty() {
            // Operators make few of these.
            let queues = self.writer.queues().await?;
            self.news.queues = queues.into_iter().map(|row| (row.handler.clone(), row)).collect();
        }
        self.look_up(entries).await?;
        for entry in entries {
            if let Err(error) = self.news.fold(entry) {
                // Rows that were read may be those of a projector that has taken over, which are further than ours.
                self.renew().await?;
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Brings what is known of the articles that `entries` are about into the news.
    async fn look_up(&mut self, entries: &[Entry]) -> Result<(), ReadModelError> {
        let mut wanted = Wanted::default();
        entries.iter().for_each(|entry| wanted.add(entry, &self.news.contents));
        let ContentChanges { rows, raters } = &mut self.news.contents;
        let mut missing = Vec::new();
        for article in wanted.articles {
            let row = self.articles.pop(&article);
            if row.is_none() {
                missing.push(article);
            }
            rows.insert(article, row);
        }
        if !missing.is_empty() {
            for row in self.writer.contents(missing).await? {
                rows.insert(row.id, Some(row));
            }
        }
        if !wanted.raters.is_empty() {
            raters.extend(wanted.raters.iter().map(|key| (*key, None)));
            for (key, stars) in self.writer.stars(wanted.raters.into_iter().collect()).await? {
                raters.insert(key, Some(stars));
            }
        }
        Ok(())
    }

    /// Writes what is folded; returns how many jobs and articles changed.
    ///
    /// After an error nothing is written and the value is of no more use.
    pub(crate) async fn commit(&mut self) -> Result<usize, ReadModelError> {
        if !self.has_news() {
            return Ok(0);
        }
        let after = Changes::after(self.news.through);
        let mut news = std::mem::replace(&mut self.news, after);
        let n_rows = news.jobs.len() + news.contents.rows.len();
        if self.filling {
            self.put_off(&mut news);
        }
        self.write(news).await?;
        Ok(n_rows)
    }

    /// Folds `pages`, which follow what is folded, and commits.
    #[cfg(test)]
    pub(crate) async fn project(&mut self, pages: &[&[Entry]]) -> Result<(), ProjectorError> {
        for page in pages {
            self.fold(page).await?;
        }
        self.commit().await?;
        Ok(())
    }

    /// Keeps the rows of open jobs in memory instead, as far as there is room.
    fn put_off(&mut self, news: &mut Changes) {
        let open: Vec<_> = news.jobs.extract_if(|_, changed| changed.is_open()).collect();
        for (id, changed) in open {
            if let Some((id, oldest)) = self.live.push(id, changed) {
                news.jobs.insert(id, oldest);
            }
        }
    }

    async fn write(&mut self, changes: Changes) -> Result<(), ReadModelError> {
        let changes = Arc::new(changes);
        self.writer.write(self.checkpoint, &changes).await?;
        self.checkpoint = changes.through;
        // Nobody else has them any more.
        let Some(Changes { jobs, contents, .. }) = Arc::into_inner(changes) else { return Ok(()) };
        for row in contents.rows.into_values().flatten() {
            self.articles.put(row.id, row);
        }
        if self.filling {
            // There is room only for what is nowhere else.
            return Ok(());
        }
        for (id, changed) in jobs {
            if let Some(row) = changed.job.filter(|row| !row.status.is_terminal()) {
                self.live.put(id, Changed::stored(row));
            }
        }
        Ok(())
    }

    /// Ends the filling: writes the rows of all open jobs, and makes the indexes.
    pub(crate) async fn settle(&mut self) -> Result<(), ReadModelError> {
        self.filling = false;
        let open = std::mem::replace(&mut self.live, live(LIVE_ROWS));
        if !open.is_empty() {
            let mut changes = Changes::after(self.checkpoint);
            changes.jobs.extend(open);
            self.write(changes).await?;
        }
        self.writer.index().await
    }

    pub(crate) async fn close(self) -> Result<(), ReadModelError> {
        self.writer.close().await
    }
}

fn live<T>(n_rows: usize) -> LruCache<JobId, T> {
    LruCache::new(NonZeroUsize::new(n_rows).unwrap_or(NonZeroUsize::MIN))
}
