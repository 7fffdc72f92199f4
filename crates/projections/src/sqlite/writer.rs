//! The one writer's connection, on threads that may block.

use std::path::Path;
use std::sync::Arc;

use quillwork_domain::content::{Rater, Stars};
use quillwork_domain::id::JobId;
use rusqlite::Connection;

use crate::changes::{Changes, Checkpoint};
use crate::content_analytics::ContentAnalytics;
use crate::job_summary::JobSummary;
use crate::queues::QueueRow;
use crate::read_models::ReadModelError;
use crate::sqlite::{INDEXES, Indexes, checkpoint, content, open_writer, query, row_of, write};

/// None while it is lent to a thread, and for ever if that was not awaited.
pub(crate) struct Writer(Option<Connection>);

impl Writer {
    /// Opens the file, made with its tables if there is none; says how far the rows are.
    pub(crate) async fn open(path: &Path, indexes: Indexes) -> Result<(Self, Checkpoint), ReadModelError> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let connection = open_writer(&path, indexes)?;
            let checkpoint = checkpoint(&connection)?;
            Ok((Self(Some(connection)), checkpoint))
        });
        opened.await.map_err(|_| cut_off())?
    }

    /// The rows of `ids`, in no order; jobs without a row are left out.
    pub(crate) async fn rows(&mut self, ids: Vec<JobId>) -> Result<Vec<JobSummary>, ReadModelError> {
        self.run(move |connection| {
            let tx = connection.transaction()?;
            ids.into_iter().filter_map(|id| row_of(&tx, id).transpose()).collect()
        })
        .await
    }

    /// By handler.
    pub(crate) async fn queues(&mut self) -> Result<Vec<QueueRow>, ReadModelError> {
        self.run(|connection| query::queue_rows(connection)).await
    }

    /// The rows of articles, in no order; those without a row are left out.
    pub(crate) async fn contents(
        &mut self,
        ids: Vec<JobId>,
    ) -> Result<Vec<ContentAnalytics>, ReadModelError> {
        self.run(move |connection| {
            let tx = connection.transaction()?;
            ids.into_iter().filter_map(|id| content::row_of(&tx, id).transpose()).collect()
        })
        .await
    }

    /// How many stars raters gave articles, in no order; those that gave none are left out.
    pub(crate) async fn stars(
        &mut self,
        raters: Vec<(JobId, Rater)>,
    ) -> Result<Vec<((JobId, Rater), Stars)>, ReadModelError> {
        self.run(move |connection| {
            let tx = connection.transaction()?;
            let stars = |key| content::stars_of(&tx, key).map(|stars| Some((key, stars?))).transpose();
            raters.into_iter().filter_map(stars).collect()
        })
        .await
    }

    /// Writes rows and checkpoint, all or nothing, if the checkpoint is still `after`.
    pub(crate) async fn write(
        &mut self,
        after: Checkpoint,
        changes: Arc<Changes>,
    ) -> Result<(), ReadModelError> {
        self.run(move |connection| write::write(connection, after, &changes)).await
    }

    /// Makes the indexes that [`Writer::open`] left out.
    pub(crate) async fn index(&mut self) -> Result<(), ReadModelError> {
        self.run(|connection| Ok(connection.execute_batch(INDEXES)?)).await
    }

    pub(crate) async fn close(mut self) -> Result<(), ReadModelError> {
        let Some(connection) = self.0.take() else { return Ok(()) };
        let closed = tokio::task::spawn_blocking(move || connection.close().map_err(|(_, error)| error));
        Ok(closed.await.map_err(|_| cut_off())??)
    }

    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, ReadModelError> + Send + 'static,
    ) -> Result<T, ReadModelError> {
        let mut connection = self.0.take().ok_or_else(cut_off)?;
        let lent = tokio::task::spawn_blocking(move || {
            let result = work(&mut connection);
            (connection, result)
        });
        let (connection, result) = lent.await.map_err(|_| cut_off())?;
        self.0 = Some(connection);
        result
    }
}

fn cut_off() -> ReadModelError {
    ReadModelError::File(std::io::ErrorKind::Interrupted.into())
}
