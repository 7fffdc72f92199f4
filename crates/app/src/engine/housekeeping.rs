//! What the engine does between batches: keeping its lease, finding orphans and due tasks, looking at what others let
//! it know, and making sure of what a failed commit left behind.

use std::time::Duration;

use quillwork_domain::time::Timestamp;
use tokio::time::Instant;

use crate::engine::glance::Glance;
use crate::engine::intake::Intake;
use crate::engine::run::EngineLoop;
use crate::ports::store::{Claim, StoreError};

/// How long a process may go without knowing when the next task of others is due, so that it need not ask for every
/// batch in which they let tasks wait.
const DUE_INTERVAL: Duration = Duration::from_millis(20);

/// Orphans that one batch takes care of.
const MAX_ORPHANS: usize = 1_024;

impl EngineLoop {
    /// Everything that is due, before a batch.
    pub(super) async fn keep_house(&mut self, intake: &mut Intake) -> Result<(), StoreError> {
        if self.in_doubt {
            self.resolve_doubt(intake).await?;
        }
        let due = self.renew_at <= Instant::now() && (self.must_renew() || !intake.is_done());
        // Also to find out whether a store that failed writes again.
        if due || self.trouble.borrow().is_some() {
            self.renew_lease().await?;
        }
        for handler in std::mem::take(&mut self.unserved) {
            let claim = Claim { handler: handler.into(), after: "".into(), limit: usize::MAX };
            let tasks = self.writer.ready(&[claim], Timestamp::MAX).await?;
            intake.unserved.extend(tasks.into_iter().flatten().map(|task| task.key));
        }
        if intake.orphans.is_empty() && self.reap_at <= Instant::now() {
            self.reap(intake).await?;
        }
        self.heed_hints().await?;
        let now = self.now();
        if self.queues.next_due.is_some_and(|due| due <= now) {
            self.queues.reset(now);
            self.ask_due_at = Instant::now();
        }
        if let Some(after) = self.queues.unknown_after
            && self.must_ask_due()
            && self.ask_due_at <= Instant::now()
        {
            self.queues.next_due = self.writer.next_due(&self.queues.handlers(), after).await?;
            self.queues.unknown_after = None;
            self.ask_due_at = Instant::now() + DUE_INTERVAL;
        }
        Ok(())
    }

    /// True if it matters when the next task is due, and is not known.
    pub(super) fn must_ask_due(&self) -> bool {
        self.queues.unknown_after.is_some() && self.slots.handlers().next().is_some()
    }

    /// True if the lease must be kept while nothing happens: for running stages, and for other processes to see that
    /// this one is there.
    pub(super) fn must_renew(&self) -> bool {
        self.slots.n_running() > 0 || !self.writer.is_exclusive()
    }

    async fn renew_lease(&mut self) -> Result<(), StoreError> {
        let ttl = self.config.lease;
        if !self.writer.renew_lease(self.lease, ttl).await? {
            // Nothing of note after a quiet time, for which nothing was renewed.
            if self.slots.n_running() > 0 {
                tracing::warn!("this process was taken for dead; its running stages belong to others now");
                self.slots.cancel_all();
            }
            self.lease = self.writer.open_lease(&self.worker, ttl).await?;
        }
        self.renew_at = Instant::now() + ttl / 3;
        if !self.writer.is_exclusive() {
            let survey = self.writer.survey().await?;
            self.adopt(survey);
            // What others cancelled or took, in case the word of it was lost.
            self.give_up_lost_runs().await?;
        }
        Ok(())
    }

    async fn reap(&mut self, intake: &mut Intake) -> Result<(), StoreError> {
        intake.orphans = self.writer.orphans(self.lease, MAX_ORPHANS).await?;
        let more = intake.orphans.len() == MAX_ORPHANS;
        self.reap_at = Instant::now() + if more { Duration::ZERO } else { self.config.lease / 2 };
        if !intake.orphans.is_empty() {
            tracing::warn!(n = intake.orphans.len(), "taking over the stages of a lost worker");
        }
        Ok(())
    }

    /// Acts on what other processes let this one know.
    async fn heed_hints(&mut self) -> Result<(), StoreError> {
        let pending = self.hints.take();
        let now = self.now();
        // Before what follows from it, so that nothing is taken for known that was written up to there.
        self.feed.advance(pending.head);
        // What was written before this process looked last, it knows.
        if pending.head > self.head.position {
            let noted = pending.handlers.iter().filter(|handler| self.queues.note(handler, now)).count();
            if noted > 0 {
                self.patience.heard(Instant::now());
            }
        }
        if pending.any {
            // Also who else is there may have changed.
            let survey = self.writer.survey().await?;
            self.adopt(survey);
            self.queues.reset(now);
        }
        if pending.cancelled {
            self.give_up_lost_runs().await?;
        }
        Ok(())
    }

    /// Tells stages to end whose task this process no longer holds.
    async fn give_up_lost_runs(&mut self) -> Result<(), StoreError> {
        if self.slots.n_running() > 0 {
            let held = self.writer.held(self.lease).await?;
            self.slots.cancel_all_but(&held);
        }
        Ok(())
    }

    /// Finds out whether the failed commit was written. If so, stages that it started were handed to nobody, and
    /// stages that it ended were not told.
    async fn resolve_doubt(&mut self, intake: &mut Intake) -> Result<(), StoreError> {
        let survey = self.writer.survey().await?;
        if survey.head != self.head {
            tracing::warn!(
                position = %survey.head.position,
                "the log moved while a commit failed, which may have been written all the same"
            );
            self.adopt(survey);
            self.feed.skip_to(survey.head.position);
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
        self.glance = Glance::default();
        self.queues.reset(self.now());
        self.controls = quillwork_domain::queue::Queues::default();
        self.controls_exact = false;
    }
}
