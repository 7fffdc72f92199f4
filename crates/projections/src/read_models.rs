//! The read models as clients of this crate hold them: queries, and waiting for a position.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quillwork_app::clock;
use quillwork_app::ports::spending::Spendings;
use quillwork_app::ports::store::StoreError;
use quillwork_domain::id::{JobId, Position};
use quillwork_domain::job::Status;
use quillwork_domain::time::{Day, Timestamp};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::backend::{Backend, Found};
use crate::content_analytics::{ContentAnalytics, ContentPage, ContentPlace, ContentSort};
use crate::job_summary::{JobFilter, JobPage, JobSummary};
use crate::job_timeline::{self, TimelineEntry};
use crate::postgres::{self, Turn};
use crate::queues::QueueRow;
use crate::sqlite;
use crate::stats::Stats;
use crate::usage::{UsageFilter, UsageGroup, UsagePage, UsagePlace};

/// The read models did not do what they were asked.
#[derive(Debug, thiserror::Error)]
pub enum ReadModelError {
    #[error("the read model's database failed")]
    Database(#[source] Arc<sqlx::Error>),
    #[error("the read model's file failed")]
    Sqlite(#[from] rusqlite::Error),
    #[error("a row of the read model does not have its shape")]
    Row(#[from] serde_json::Error),
    #[error("the read model is damaged: {0}; stop the process and run `quillwork rebuild`")]
    Damaged(String),
    #[error("the read model has schema version {found}, this program needs {expected}")]
    OtherVersion { found: i64, expected: i64 },
    #[error("another projector moved the checkpoint on from {expected}")]
    CheckpointMoved { expected: Position },
    #[error("the database has no schema {0} for the read model; run `quillwork migrate`")]
    NoTables(String),
    #[error("another rebuild is at work; wait for its end, or some seconds if it was killed")]
    Rebuilding,
    #[error("cannot replace the read model's file")]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Log(#[from] StoreError),
}

impl From<sqlx::Error> for ReadModelError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl ReadModelError {
    /// True if the tables cannot be used by anyone, as opposed to not now or not by this process.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Database(error) => postgres::is_unusable(error),
            Self::Sqlite(error) => sqlite::is_unusable(error),
            Self::Row(_) | Self::Damaged(_) => true,
            Self::OtherVersion { .. }
            | Self::CheckpointMoved { .. }
            | Self::NoTables(_)
            | Self::Rebuilding
            | Self::File(_)
            | Self::Log(_) => false,
        }
    }
}

/// How the projector is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not running yet, or told to stop.
    Idle,
    /// Runs, and has not reached the end of the log for the first time.
    CatchingUp,
    Running,
    /// A projector in another process has the turn, and this process follows what it does.
    Standby,
    /// Met a failure that may pass, and tries again.
    Retrying(String),
    /// Stopped at an event that it must not skip, or the tables are damaged.
    Failed(String),
}

/// Answers queries. Cheap to clone.
#[derive(Clone)]
pub struct ReadModels {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Backend,
    position: watch::Sender<Position>,
    health: watch::Sender<Health>,
    damaged: AtomicBool,
    role: Mutex<Role>,
    /// How many wait for a position.
    n_waiting: watch::Sender<usize>,
    /// Woken when a projector has given up its turn.
    turn_free: Notify,
}

/// What this process has to do with tables in PostgreSQL.
#[derive(Clone)]
pub(crate) enum Role {
    /// It has no projector.
    Reader,
    /// Its projector waits for the turn, and says how it is.
    StandingBy,
    /// Its projector has the turn as far as it knows, and says how far the tables are.
    Active(Turn),
}

/// Ends the name of a file that marks the read model beside it as damaged.
pub(crate) const DAMAGED: &str = ".damaged";

impl ReadModels {
    /// Tables that are as far as `position`.
    pub(crate) fn new(backend: Backend, position: Position) -> Self {
        let shared = Shared {
            backend,
            position: watch::Sender::new(position),
            health: watch::Sender::new(Health::Idle),
            damaged: AtomicBool::new(false),
            role: Mutex::new(Role::Reader),
            n_waiting: watch::Sender::new(0),
            turn_free: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// One job.
    pub async fn job(&self, id: JobId) -> Result<Option<JobSummary>, ReadModelError> {
        let job = self.watched(self.backend().job(id).await)?;
        Ok(job.map(|job| job.at(clock::now())))
    }

    /// Jobs, newest first, up to `limit`.
    pub async fn jobs(&self, filter: &JobFilter, limit: usize) -> Result<JobPage, ReadModelError> {
        let page = self.page(filter, limit).await;
        self.watched(page)
    }

    async fn page(&self, filter: &JobFilter, limit: usize) -> Result<JobPage, ReadModelError> {
        let now = clock::now();
        let backend = self.backend();
        // One more than asked for tells whether there is a next page.
        let fetch = limit.saturating_add(1);
        let Found { mut items, looked_to } = match filter.status {
            Some(Status::Scheduled) => backend.jobs(filter, Some(Err(now)), fetch).await?,
            Some(Status::Queued) => {
                let scheduled = JobFilter { status: Some(Status::Scheduled), ..filter.clone() };
                let queued = backend.jobs(filter, None, fetch).await?;
                queued.merge(backend.jobs(&scheduled, Some(Ok(now)), fetch).await?)
            }
            Some(
                Status::Running
                | Status::Retrying
                | Status::Completed
                | Status::Failed
                | Status::Cancelled
                | Status::Paused,
            )
            | None => backend.jobs(filter, None, fetch).await?,
        };
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|job| job.submitted_position) } else { looked_to };
        Ok(JobPage { items: items.into_iter().map(|job| job.at(now)).collect(), next })
    }

    /// Up to `limit` jobs that ended before `cutoff`, those that ended first before the others. `after` is the last job of
    /// the page before.
    pub async fn finished(
        &self,
        cutoff: Timestamp,
        after: Option<&JobSummary>,
        limit: usize,
    ) -> Result<Vec<JobSummary>, ReadModelError> {
        let after = after.map_or((Timestamp::default(), Position::START), |job| {
            (job.finished_at.unwrap_or_default(), job.submitted_position)
        });
        self.watched(self.backend().finished(cutoff, after, limit).await)
    }

    /// True if the projector of this process writes the tables.
    pub fn is_written_here(&self) -> bool {
        match self.backend() {
            Backend::Sqlite(_) => true,
            Backend::Postgres(..) => matches!(self.role(), Role::Active(_)),
        }
    }

    /// The attempts of one job, in order; empty for a job that does not exist.
    pub async fn timeline(&self, id: JobId) -> Result<Vec<TimelineEntry>, ReadModelError> {
        let Some(job) = self.watched(self.backend().job(id).await)? else { return Ok(vec![]) };
        let mut attempts = self.watched(self.backend().timeline(&job).await)?;
        for running in job_timeline::running(&job) {
            // It may have ended between the two queries.
            let ended = |ended: &TimelineEntry| {
                (ended.stage_index, ended.attempt) == (running.stage_index, running.attempt)
            };
            if !attempts.iter().any(ended) {
                attempts.push(running);
            }
        }
        Ok(attempts)
    }

    /// The counters.
    pub async fn stats(&self) -> Result<Stats, ReadModelError> {
        let mut stats = self.watched(self.backend().stats().await)?;
        if stats.jobs.scheduled > 0 {
            stats.due(self.backend().due(clock::now()).await?);
        }
        Ok(stats)
    }

    /// The queues that operators have touched, by handler.
    pub async fn queues(&self) -> Result<Vec<QueueRow>, ReadModelError> {
        self.watched(self.backend().queues().await)
    }

    /// What was paid for, up to `limit` rows after a place.
    pub async fn usage(
        &self,
        filter: &UsageFilter,
        group: UsageGroup,
        after: UsagePlace,
        limit: usize,
    ) -> Result<UsagePage, ReadModelError> {
        // One more than asked for tells whether there is a next page.
        let rows = self.backend().usage(filter, group, after, limit.saturating_add(1)).await;
        let mut items = self.watched(rows)?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|row| row.place.clone());
        Ok(UsagePage { items, next })
    }

    /// What `tenant` has spent on `day`.
    pub(crate) async fn spendings(&self, tenant: &str, day: Day) -> Result<Spendings, ReadModelError> {
        self.watched(self.backend().spent(tenant, day).await)
    }

    /// What is known of one article; None if nothing is.
    pub async fn content(&self, id: JobId) -> Result<Option<ContentAnalytics>, ReadModelError> {
        self.watched(self.backend().content(id).await)
    }

    /// Articles of jobs that have completed, up to `limit`. `after` is the `next` of the page before.
    ///
    /// An article whose place changes meanwhile may be on two pages, or on none.
    pub async fn contents(
        &self,
        sort: ContentSort,
        after: Option<ContentPlace>,
        limit: usize,
    ) -> Result<ContentPage, ReadModelError> {
        let after = after.unwrap_or((i64::MAX, JobId(Uuid::max())));
        // One more than asked for tells whether there is a next page.
        let items = self.backend().contents(sort, after, limit.saturating_add(1)).await;
        let mut items = self.watched(items)?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|item| item.place(sort)) } else { None };
        Ok(ContentPage { items, next })
    }

    /// The last event that queries show.
    pub fn position(&self) -> Position {
        *self.shared.position.borrow()
    }

    /// Waits until queries show the event at `position`, at most for `timeout`; false if they do not then.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> bool {
        let mut positions = self.shared.position.subscribe();
        if *positions.borrow() >= position {
            return true;
        }
        let _waiting = Waiting::new(&self.shared.n_waiting);
        let reached = positions.wait_for(|reached| *reached >= position);
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    /// How the projector and its tables are.
    pub fn health(&self) -> Health {
        if self.shared.damaged.load(Ordering::Relaxed) {
            return Health::Failed(
                "the tables are damaged; they are built again at the next start".to_owned(),
            );
        }
        self.shared.health.borrow().clone()
    }

    /// Notes if a query shows that the tables are damaged. An SQLite file is not healthy from then on, and the next
    /// start throws it away; what is in PostgreSQL is for an operator to rebuild.
    fn watched<T>(&self, result: Result<T, ReadModelError>) -> Result<T, ReadModelError> {
        let damaged = result.as_ref().is_err_and(ReadModelError::is_damage);
        match self.backend() {
            Backend::Sqlite(readers) if damaged => {
                let path = readers.path();
                if !self.shared.damaged.swap(true, Ordering::Relaxed) {
                    tracing::error!(file = %path.display(), "the read model is damaged; restart to build it again");
                    // Without the mark the next start finds out again.
                    let _ = std::fs::write(sqlite::beside(path, DAMAGED), []);
                }
            }
            Backend::Postgres(database, _) if damaged => {
                tracing::error!(
                    schema = database.schema(),
                    "the read model is damaged; run `quillwork rebuild`"
                );
            }
            Backend::Sqlite(_) | Backend::Postgres(..) => {}
        }
        result
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.shared.backend
    }

    pub(crate) fn role(&self) -> Role {
        self.shared.role.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_role(&self, role: Role) {
        *self.shared.role.lock().unwrap_or_else(PoisonError::into_inner) = role;
    }

    /// What the projector of this process has written.
    pub(crate) fn set_position(&self, position: Position) {
        self.shared.position.send_replace(position);
    }

    /// What the projector of another process has written; nothing if `position` is None.
    pub(crate) fn follow_to(&self, position: impl FnOnce(Position) -> Option<Position>) {
        self.shared.position.send_if_modified(|current| {
            // Decided under the lock that also guards what our own projector says.
            let position = match self.role() {
                Role::Reader | Role::StandingBy => position(*current),
                Role::Active(_) => None,
            };
            position.is_some_and(|position| std::mem::replace(current, position) != position)
        });
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.shared.health.send_if_modified(|current| {
            let changed = *current != health;
            *current = health;
            changed
        });
    }

    #[cfg(test)]
    pub(crate) fn watch_health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    /// Resolves when somebody waits for a position.
    pub(crate) async fn is_waited_for(&self) {
        let mut n_waiting = self.shared.n_waiting.subscribe();
        // The sender lives as long as `self`.
        let _ = n_waiting.wait_for(|n| *n > 0).await;
    }

    /// Woken when a projector has given up its turn.
    pub(crate) fn turn_free(&self) -> &Notify {
        &self.shared.turn_free
    }
}

/// Counts one who waits, as long as it lives.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(n_waiting: &'a watch::Sender<usize>) -> Self {
        n_waiting.send_modify(|n| *n += 1);
        Self(n_waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}
