//! A store that takes everything and keeps only what the engine asks for again: idempotency keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::clock;
use quillwork_app::ports::store::{
    Batch, Claim, CommitError, Head, IdempotencyKey, KeyOwner, LeaseToken, LogReader, LogWriter, StoreError,
    Survey, Task, TaskKey,
};
use quillwork_domain::archive::Run;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::time::Timestamp;

/// Where nothing comes back from.
#[derive(Default)]
pub(crate) struct Void {
    keys: HashMap<IdempotencyKey, KeyOwner>,
}

#[async_trait]
impl LogWriter for Void {
    fn is_exclusive(&self) -> bool {
        true
    }

    async fn survey(&mut self) -> Result<Survey, StoreError> {
        let (queue, now) = (Position::START, clock::now());
        Ok(Survey { head: Head::EMPTY, backlog: 0, queue, controls: Version::default(), now, shared: false })
    }

    async fn lock(&mut self) -> Result<Survey, StoreError> {
        self.survey().await
    }

    async fn unlock(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(&mut self, _: Head, batch: &Batch) -> Result<(), CommitError> {
        self.keys.extend(batch.keys.iter().cloned());
        Ok(())
    }

    async fn load(&mut self, streams: &[(StreamId, Version)]) -> Result<Vec<Vec<Recorded>>, StoreError> {
        Ok(vec![vec![]; streams.len()])
    }

    async fn version(&mut self, _: StreamId) -> Result<Version, StoreError> {
        Ok(Version::default())
    }

    async fn owners(&mut self, keys: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError> {
        Ok(keys.iter().map(|key| self.keys.get(key).copied()).collect())
    }

    async fn ready(&mut self, claims: &[Claim], _: Timestamp) -> Result<Vec<Vec<Task>>, StoreError> {
        Ok(vec![vec![]; claims.len()])
    }

    async fn next_due(&mut self, _: &[Arc<str>], _: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn held_by_handler(&mut self, handlers: &[Arc<str>]) -> Result<Vec<u64>, StoreError> {
        Ok(vec![0; handlers.len()])
    }

    async fn handlers(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(vec![])
    }

    async fn open_lease(&mut self, _: &str, _: Duration) -> Result<LeaseToken, StoreError> {
        Ok(LeaseToken(1))
    }

    async fn renew_lease(&mut self, _: LeaseToken, _: Duration) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn close_lease(&mut self, _: LeaseToken) -> Result<(), StoreError> {
        Ok(())
    }

    async fn orphans(&mut self, _: LeaseToken, _: usize) -> Result<Vec<(TaskKey, LeaseToken)>, StoreError> {
        Ok(vec![])
    }

    async fn held(&mut self, _: LeaseToken) -> Result<Vec<TaskKey>, StoreError> {
        Ok(vec![])
    }

    async fn replace_queue(
        &mut self,
        _: &[(Task, Option<LeaseToken>)],
        _: &[(IdempotencyKey, KeyOwner)],
    ) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl LogReader for Void {
    async fn head(&self) -> Result<Head, StoreError> {
        Ok(Head::EMPTY)
    }

    async fn stream(&self, _: StreamId, _: Version, _: usize) -> Result<Vec<Recorded>, StoreError> {
        Ok(vec![])
    }

    async fn read_all(&self, _: Position, _: usize) -> Result<Vec<Recorded>, StoreError> {
        Ok(vec![])
    }

    async fn archived_runs(&self, _: Position, _: usize) -> Result<Vec<Run>, StoreError> {
        Ok(vec![])
    }

    async fn blob(&self, _: Sha256Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    async fn tasks(
        &self,
        _: Option<TaskKey>,
        _: usize,
    ) -> Result<Vec<(Task, Option<LeaseToken>)>, StoreError> {
        Ok(vec![])
    }

    async fn keys(
        &self,
        _: Option<IdempotencyKey>,
        _: usize,
    ) -> Result<Vec<(IdempotencyKey, KeyOwner)>, StoreError> {
        Ok(vec![])
    }

    async fn blobs(&self, _: Option<Sha256Digest>, _: usize) -> Result<Vec<Sha256Digest>, StoreError> {
        Ok(vec![])
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        Ok(vec![])
    }
}
