//! What the engine does between batches: keeping its lease, finding orphans and due tasks, and making sure of what a
//! failed commit left behind.

use quillwork_domain::time::Timestamp;

use crate::clock;
use crate::engine::run::{EngineLoop, Intake};
use crate::ports::store::StoreError;

/// Orphans that one batch takes care of.
const MAX_ORPHANS: usize = 1_024;

impl EngineLoop {
    /// Renews the lease, looks for orphans, and refills windows when tasks have become due.
    pub(super) async fn keep_house(&mut self, intake: &mut Intake) -> Result<(), StoreError> {
        let now = clock::now();
        if self.in_doubt {
            self.resolve_doubt(intake).await?;
        }
        // Also before the first stage after a quiet time, and to find out whether a store that failed writes again.
        let due = self.renew_at <= now && (self.slots.n_running() > 0 || !intake.requests.is_empty());
        if due || self.trouble.borrow().is_some() {
            let until = now.plus(self.config.lease);
            if !self.writer.renew_lease(self.lease, until).await? {
                // Nothing of note after a quiet time, for which nothing was renewed.
                if self.slots.n_running() > 0 {
                    tracing::warn!(
                        "this process was taken for dead; its running stages belong to others now"
                    );
                    self.slots.cancel_all();
                }
                self.lease = self.writer.open_lease(&self.worker, until).await?;
            }
            self.renew_at = now.plus(self.config.lease / 3);
        }
        for handler in std::mem::take(&mut self.unserved) {
            let tasks = self.writer.ready(&handler, Timestamp::MAX, usize::MAX).await?;
            intake.unserved.extend(tasks.into_iter().map(|task| task.key.job));
        }
        if intake.orphans.is_empty() && self.reap_at <= now {
            intake.orphans = self.writer.orphans(self.lease, now, MAX_ORPHANS).await?;
            let more = intake.orphans.len() == MAX_ORPHANS;
            self.reap_at = if more { now } else { now.plus(self.config.lease / 2) };
            if !intake.orphans.is_empty() {
                tracing::warn!(n = intake.orphans.len(), "taking over the stages of a lost worker");
            }
        }
        if self.queues.next_due.is_some_and(|due| due <= now) {
            self.queues.reset();
            self.queues.next_due = self.writer.next_due(now).await?;
        }
        Ok(())
    }

    /// Finds out whether the failed commit was written. If so, stages that it started were handed to nobody, and
    /// stages that it ended were not told.
    pub(super) async fn resolve_doubt(&mut self, intake: &mut Intake) -> Result<(), StoreError> {
        let head = self.writer.head().await?;
        if head != self.head {
            tracing::warn!(position = %head.position, "a commit that had failed was written all the same");
            self.head = head;
            self.feed.skip_to(head.position);
            self.backlog = self.writer.backlog().await?;
            let held = self.writer.held(self.lease).await?;
            self.slots.cancel_all_but(&held);
            let unowned = held.into_iter().filter(|task| !self.slots.runs(*task));
            intake.orphans.extend(unowned.map(|task| (task, self.lease)));
        }
        self.in_doubt = false;
        Ok(())
    }

    /// Memory may be ahead of the log: drop it.
    pub(super) fn forget(&mut self) {
        self.cache.clear();
        self.queues.reset();
        // Whatever was due may have been popped from a window; the store knows.
        self.queues.next_due = Some(Timestamp::default());
    }
}
