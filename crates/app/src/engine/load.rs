//! Bringing what a batch needs into memory.

use std::collections::{BTreeMap, BTreeSet};

use quillwork_domain::id::{JobId, StreamId, Version};
use quillwork_domain::job::{Command, Job, StagePhase};

use crate::engine::intake::Intake;
use crate::engine::run::EngineLoop;
use crate::engine::slots::RunKey;
use crate::engine::supply::Supply;
use crate::engine::work::Report;
use crate::ports::store::{IdempotencyKey, KeyOwner, StoreError, TaskKey};

impl EngineLoop {
    /// The owners of the idempotency keys that the batch names, where there are any.
    pub(super) async fn owners(
        &mut self,
        intake: &Intake,
    ) -> Result<BTreeMap<IdempotencyKey, KeyOwner>, StoreError> {
        let items = intake.requests.iter().flat_map(|request| &request.items);
        let keys = items.filter_map(|item| item.key.clone());
        let keys: Vec<IdempotencyKey> = keys.chain(intake.keys_of_ratings()).collect();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let owners = self.writer.owners(&keys).await?;
        Ok(keys.into_iter().zip(owners).filter_map(|(key, owner)| Some((key, owner?))).collect())
    }

    /// Brings every job that the batch names into the cache, as it is in the log.
    pub(super) async fn load(
        &mut self,
        intake: &Intake,
        owners: &BTreeMap<IdempotencyKey, KeyOwner>,
        supply: &Supply,
    ) -> Result<(), StoreError> {
        let mut needed: BTreeSet<JobId> = intake.orphans.iter().map(|(key, _)| key.job).collect();
        needed.extend(intake.unserved.iter().map(|key| key.job));
        needed.extend(intake.reports.iter().map(Report::job));
        needed.retain(|job| !self.is_known(*job));
        let items = intake.requests.iter().flat_map(|request| &request.items);
        // The id of a new job was minted for it: there is nothing to load.
        let commanded = items.filter(|item| !matches!(item.command, Command::Submit(_))).map(|item| item.job);
        // A client may be answered without an event, and then the store has nothing to refuse.
        let answered = owners.values().map(|owner| owner.job).chain(commanded);
        needed.extend(answered.filter(|job| !self.cache.is_exact(*job)));
        let found = supply.found.values().flat_map(|found| &found.tasks).map(|task| task.key);
        needed.extend(
            found.filter(|key| !self.is_known(key.job) && !self.has_glanced(*key)).map(|key| key.job),
        );
        self.read(needed).await
    }

    /// True if the job of a waiting task was read while this task waited.
    fn has_glanced(&self, key: TaskKey) -> bool {
        // With another stage open, its worker may have changed the job.
        let waits = |job: &Job| {
            let stage = job.stage(key.stage).filter(|_| job.only_open() == Some(key.stage));
            stage.is_some_and(|stage| matches!(stage.phase, StagePhase::Waiting { .. }))
        };
        self.glance.has_read(key.job) && self.cache.peek(key.job).is_some_and(|known| waits(&known.job))
    }

    /// Brings jobs into the cache, as they are in the log.
    pub(super) async fn read(&mut self, jobs: BTreeSet<JobId>) -> Result<(), StoreError> {
        let missing: Vec<(StreamId, Version)> = jobs
            .into_iter()
            .map(|job| {
                // A job that has ended may have left the log since: what is known of it is of no use.
                let known = self.cache.peek(job).filter(|known| !known.job.is_terminal());
                (job.into(), known.map_or(Version::default(), |known| known.job.version))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let news = self.writer.load(&missing).await?;
        for ((stream, after), news) in missing.into_iter().zip(news) {
            let Some(job) = stream.job() else { continue };
            let cached = self.cache.take(job).filter(|_| after > Version::default());
            let mut known = cached.unwrap_or_default();
            known.fold(&news);
            if known.last_event.is_some() {
                self.cache.put(job, known);
            }
        }
        Ok(())
    }

    /// True if the job need not be looked at for what its workers say. While its one open stage runs here, others change
    /// little of it; if one has, the version of the next event is taken or the task is gone, and the store refuses the
    /// batch.
    pub(super) fn is_known(&self, job: JobId) -> bool {
        self.cache.is_exact(job)
            || self.cache.peek(job).is_some_and(|known| {
                let stage = known.job.only_open();
                let key = stage
                    .and_then(|stage| Some(RunKey { job, stage, attempt: known.job.stage(stage)?.attempt }));
                key.is_some_and(|key| self.slots.holds(key))
            })
    }
}
