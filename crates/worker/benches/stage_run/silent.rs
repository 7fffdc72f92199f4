//! A store that answers nothing, so that the engine before it costs nothing: reports wait in its channel.

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
use tokio_util::sync::CancellationToken;

/// Keeps whoever loads a stream waiting until the end.
pub(crate) struct Silent(pub(crate) CancellationToken);

fn never<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("it is silent".into()))
}

#[async_trait]
impl LogWriter for Silent {
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

    async fn commit(&mut self, _: Head, _: &Batch) -> Result<(), CommitError> {
        Ok(never()?)
    }

    async fn load(&mut self, _: &[(StreamId, Version)]) -> Result<Vec<Vec<Recorded>>, StoreError> {
        self.0.cancelled().await;
        never()
    }

    async fn version(&mut self, _: StreamId) -> Result<Version, StoreError> {
        never()
    }

    async fn owners(&mut self, _: &[IdempotencyKey]) -> Result<Vec<Option<KeyOwner>>, StoreError> {
        never()
    }

    async fn ready(&mut self, _: &[Claim], _: Timestamp) -> Result<Vec<Vec<Task>>, StoreError> {
        never()
    }

    async fn next_due(&mut self, _: &[Arc<str>], _: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn held_by_handler(&mut self, _: &[Arc<str>]) -> Result<Vec<u64>, StoreError> {
        never()
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
        never()
    }
}

#[async_trait]
impl LogReader for Silent {
    async fn head(&self) -> Result<Head, StoreError> {
        Ok(Head::EMPTY)
    }

    async fn stream(&self, _: StreamId, _: Version, _: usize) -> Result<Vec<Recorded>, StoreError> {
        never()
    }

    async fn read_all(&self, _: Position, _: usize) -> Result<Vec<Recorded>, StoreError> {
        never()
    }

    async fn archived_runs(&self, _: Position, _: usize) -> Result<Vec<Run>, StoreError> {
        never()
    }

    async fn blob(&self, _: Sha256Digest) -> Result<Option<Vec<u8>>, StoreError> {
        never()
    }

    async fn tasks(
        &self,
        _: Option<TaskKey>,
        _: usize,
    ) -> Result<Vec<(Task, Option<LeaseToken>)>, StoreError> {
        never()
    }

    async fn keys(
        &self,
        _: Option<IdempotencyKey>,
        _: usize,
    ) -> Result<Vec<(IdempotencyKey, KeyOwner)>, StoreError> {
        never()
    }

    async fn blobs(&self, _: Option<Sha256Digest>, _: usize) -> Result<Vec<Sha256Digest>, StoreError> {
        never()
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        never()
    }
}
