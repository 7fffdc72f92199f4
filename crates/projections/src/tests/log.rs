//! A log in memory.

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::feed::Feed;
use quillwork_app::ports::store::{
    Entry, Head, IdempotencyKey, KeyOwner, LeaseToken, LogReader, StoreError, Task, TaskKey,
};
use quillwork_domain::archive::Run;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;

/// Serves events from memory, exactly as given.
pub(crate) struct MemoryLog(pub(super) Vec<Recorded>, pub(super) Vec<Run>);

impl MemoryLog {
    pub(super) fn new(entries: &[Entry]) -> Self {
        Self(entries.iter().map(|entry| entry.recorded.clone()).collect(), vec![])
    }

    pub(super) fn feed(self) -> Feed {
        let head = self.0.last().map_or(Position::START, |event| event.position);
        Feed::new(Arc::new(self), head)
    }
}

#[async_trait]
impl LogReader for MemoryLog {
    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.0.last().map_or(Head::EMPTY, |event| Head { position: event.position, hash: event.hash }))
    }

    async fn stream(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let events = self.0.iter().filter(|event| event.stream == stream && event.version > after);
        Ok(events.take(limit).cloned().collect())
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        Ok(self.0.iter().filter(|event| event.position > after).take(limit).cloned().collect())
    }

    async fn archived_runs(&self, after: Position, limit: usize) -> Result<Vec<Run>, StoreError> {
        Ok(self.1.iter().filter(|run| run.last > after).take(limit).copied().collect())
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
