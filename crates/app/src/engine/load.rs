//! Bringing what a batch needs into memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quillwork_domain::id::JobId;
use quillwork_domain::job::Command;

use crate::engine::cache::KnownJob;
use crate::engine::run::{EngineLoop, Intake};
use crate::engine::work::Report;
use crate::ports::store::{IdempotencyKey, KeyOwner, StoreError};

impl EngineLoop {
    /// The owners of the idempotency keys that the batch names, where there are any.
    pub(super) async fn owners(
        &mut self,
        intake: &Intake,
    ) -> Result<BTreeMap<IdempotencyKey, KeyOwner>, StoreError> {
        let items = intake.requests.iter().flat_map(|request| &request.items);
        let keys: Vec<IdempotencyKey> = items.filter_map(|item| item.key.clone()).collect();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let owners = self.writer.owners(&keys).await?;
        Ok(keys.into_iter().zip(owners).filter_map(|(key, owner)| Some((key, owner?))).collect())
    }

    /// Brings every job that the batch names into the cache.
    pub(super) async fn load(
        &mut self,
        intake: &Intake,
        owners: &BTreeMap<IdempotencyKey, KeyOwner>,
        free: &BTreeMap<Arc<str>, usize>,
    ) -> Result<(), StoreError> {
        let mut needed: BTreeSet<JobId> = owners.values().map(|owner| owner.job).collect();
        needed.extend(intake.orphans.iter().map(|(key, _)| key.job));
        needed.extend(&intake.unserved);
        needed.extend(intake.reports.iter().map(|report| match report {
            Report::Finished { job, .. } | Report::Step { job, .. } => *job,
        }));
        let items = intake.requests.iter().flat_map(|request| &request.items);
        // The id of a new job was minted for it: there is nothing to load.
        needed.extend(items.filter(|item| !matches!(item.command, Command::Submit(_))).map(|item| item.job));
        for (handler, n_free) in free {
            needed.extend(self.queues.peek(handler, *n_free).map(|task| task.key.job));
        }
        let missing: Vec<JobId> = needed.into_iter().filter(|job| !self.cache.contains(*job)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let streams = self.writer.load(&missing).await?;
        for (job, stream) in missing.into_iter().zip(streams) {
            if !stream.is_empty() {
                self.cache.put(job, Box::new(KnownJob::fold(&stream)));
            }
        }
        Ok(())
    }
}
