//! What one batch is made of: reports of workers before what clients want.

use crate::engine::archive::ArchiveRequest;
use crate::engine::content::ContentRequest;
use crate::engine::handle::{ControlRequest, Request};
use crate::engine::run::EngineLoop;
use crate::engine::work::Report;
use crate::ports::store::{LeaseToken, TaskKey};

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
        while self.gate.is_open(intake.n_items, intake.reports.len(), max_batch)
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
