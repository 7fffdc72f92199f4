//! Reading one job's stream from the log.

use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use quillwork_app::ports::store::{Entry, LogReader, StoreError};
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{JobId, Version};
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire;
use quillwork_projections::JobSummary;
use quillwork_projections::job_summary;

use crate::problem::Problem;

/// Events that are in memory at once.
pub(crate) const PAGE_EVENTS: usize = 256;

/// The events of `job` in order, page by page; none for a job that does not exist.
pub(crate) fn pages(
    reader: Arc<dyn LogReader>,
    job: JobId,
) -> impl Stream<Item = Result<Vec<Recorded>, StoreError>> + Send + 'static {
    futures::stream::try_unfold(Some(Version::default()), move |after| {
        let reader = reader.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = reader.stream(job.into(), after, PAGE_EVENTS).await?;
            let Some(last) = page.last() else { return Ok(None) };
            let next = (page.len() == PAGE_EVENTS).then_some(last.version);
            Ok(Some((page, next)))
        }
    })
}

/// Up to where a history is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Now,
    Version(Version),
    /// What was recorded at this time or before.
    Time(Timestamp),
}

impl Until {
    fn covers(self, event: &Recorded) -> bool {
        match self {
            Self::Now => true,
            Self::Version(version) => event.version <= version,
            Self::Time(time) => event.recorded_at <= time,
        }
    }
}

/// The job as it was, straight from the log; None if it did not exist then.
///
/// `see` gets every event that is folded.
pub(crate) async fn fold(
    reader: &Arc<dyn LogReader>,
    job: JobId,
    until: Until,
    mut see: impl FnMut(&Entry),
) -> Result<Option<JobSummary>, Problem> {
    let pages = pages(reader.clone(), job);
    futures::pin_mut!(pages);
    let mut summary = None;
    while let Some(page) = pages.try_next().await? {
        for recorded in page {
            if !until.covers(&recorded) {
                return Ok(summary);
            }
            let event = wire::decode(&recorded)?;
            let entry = Entry { recorded, event };
            summary = job_summary::fold(summary, &entry);
            see(&entry);
        }
    }
    Ok(summary)
}
