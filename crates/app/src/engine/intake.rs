//! What one batch is made of: reports of workers before what clients want.

use crate::engine::archive::ArchiveRequest;
use crate::engine::content::ContentRequest;
use crate::engine::handle::{ControlRequest, Request};
use crate::engine::run::EngineLoop;
use crate::engine::work::Report;
use crate::ports::store::{LeaseToken, TaskKey};

/// Commands that a batch takes from clients beside reports of workers. Jobs that have begun go first: if all comers were
/// let in, they would pile up in the queue, and each would cost what a short queue spares.
const COMMANDS_BESIDE_REPORTS: usize = 64;

/// What one batch is made of.
#[derive(Default)]
pub(super) struct Intake {
    pub(super) requests: Vec<Request>,
    pub(super) n_items: usize,
    pub(super) controls: Vec<ControlRequest>,
    pub(super) notes: Vec<ContentRequest>,
    /// Jobs to take out of the log, after the batch.
    pub(super) archive: Option<ArchiveRequest>,
    /// Kept until they are committed: the work is done and must not be lost to a full disk.
    pub(super) reports: Vec<Report>,
    pub(super) orphans: Vec<(TaskKey, LeaseToken)>,
    /// Tasks whose handler no worker has.
    pub(super) unserved: Vec<TaskKey>,
}

impl Intake {
    pub(super) fn take(&mut self, request: Request) {
        self.n_items += request.items.len();
        self.requests.push(request);
    }

    /// True if one more request may join the batch. The last one may have more items than there is room for.
    pub(super) fn has_room(&self, max_batch: usize) -> bool {
        let limit = if self.reports.is_empty() { max_batch } else { max_batch.min(COMMANDS_BESIDE_REPORTS) };
        self.n_items < limit
    }

    /// True if nobody waits for an answer or for his work to be kept.
    pub(super) fn is_done(&self) -> bool {
        self.requests.is_empty()
            && self.reports.is_empty()
            && self.controls.is_empty()
            && self.notes.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_done() && self.orphans.is_empty() && self.unserved.is_empty()
    }
}

impl EngineLoop {
    /// Takes what has come in the meantime, up to a batch.
    pub(super) fn drain(&mut self, intake: &mut Intake) {
        let max_batch = self.config.max_batch;
        while intake.reports.len() < max_batch
            && let Ok(report) = self.reports.try_recv()
        {
            intake.reports.push(report);
        }
        while intake.has_room(max_batch)
            && let Ok(request) = self.requests.try_recv()
        {
            intake.take(request);
        }
        while intake.controls.len() < max_batch
            && let Ok(request) = self.controlling.try_recv()
        {
            intake.controls.push(request);
        }
        while intake.notes.len() < max_batch
            && let Ok(request) = self.noting.try_recv()
        {
            intake.notes.push(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use quillwork_domain::id::{Attempt, JobId};
    use quillwork_domain::job::ErrorClass;
    use quillwork_domain::plan::StageIndex;
    use uuid::Uuid;

    use super::*;
    use crate::engine::Outcome;

    fn report() -> Report {
        let outcome =
            Outcome::Failed { class: ErrorClass::Transient, message: String::new(), retry_after: None };
        Report::Finished { job: JobId(Uuid::nil()), stage: StageIndex(0), attempt: Attempt(1), outcome }
    }

    #[test]
    fn comers_fill_a_batch_unless_work_was_done() {
        let cases = [
            // items, reports, limit of the batch, room
            (0, 0, 1_024, true),
            (1_023, 0, 1_024, true),
            (1_024, 0, 1_024, false),
            (63, 1, 1_024, true),
            (64, 1, 1_024, false),
            (0, 1_024, 1_024, true),
            (9, 1, 10, true),
            (10, 1, 10, false),
        ];
        for (n_items, n_reports, max_batch, room) in cases {
            let reports = std::iter::repeat_with(report).take(n_reports).collect();
            let intake = Intake { n_items, reports, ..Intake::default() };
            assert_eq!(intake.has_room(max_batch), room, "{n_items} items beside {n_reports} reports");
        }
    }
}
