//! Views and ratings of articles, in the batch with everything else.

use std::collections::BTreeSet;
use std::time::Duration;

use lru::LruCache;
use quillwork_domain::content::{self, ContentCommand};
use quillwork_domain::envelope::Meta;
use quillwork_domain::id::{JobId, Position, StreamId, Version};
use quillwork_domain::job::Event;
use quillwork_domain::payload::Sha256Digest;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::engine::intake::Intake;
use crate::engine::plan_batch::{BatchPlan, encode};
use crate::engine::run::EngineLoop;
use crate::engine::{Caller, Engine, Refusal};
use crate::ports::store::{Entry, IdempotencyKey, KeyOwner, StoreError};

/// Articles whose versions are remembered between batches.
const MAX_VERSIONS: usize = 16_384;

/// What a reader did is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// A read model that has this position shows the effect.
    pub position: Position,
    /// The idempotency key was used before, and this was noted then.
    pub replayed: bool,
}

/// A command about an article.
pub(crate) struct ContentRequest {
    pub(crate) caller: Caller,
    pub(crate) article: JobId,
    pub(crate) command: ContentCommand,
    pub(crate) reply: oneshot::Sender<Result<Noted, Refusal>>,
    /// Given back when the request is answered.
    pub(crate) _admission: OwnedSemaphorePermit,
}

impl ContentRequest {
    fn key(&self) -> Option<(IdempotencyKey, KeyOwner)> {
        key(self.article, &self.command, &self.caller.tenant)
    }
}

/// The idempotency key that a command names, and the owner that it will have.
fn key(article: JobId, command: &ContentCommand, tenant: &str) -> Option<(IdempotencyKey, KeyOwner)> {
    match command {
        ContentCommand::View { .. } => None,
        ContentCommand::Rate(rated) => {
            let key = IdempotencyKey { tenant: tenant.to_owned(), key: rated.idempotency_key.clone()? };
            let digest = rated.request_digest.unwrap_or(Sha256Digest([0; 32]));
            Some((key, KeyOwner { job: article, digest }))
        }
    }
}

impl Engine {
    /// Records what readers did with the article of a job, which must be completed.
    pub async fn note(
        &self,
        caller: Caller,
        article: JobId,
        command: ContentCommand,
    ) -> Result<Noted, Refusal> {
        let admission = self.admission.admit(1, 0)?;
        let (reply, verdict) = oneshot::channel();
        let request = ContentRequest { caller, article, command, reply, _admission: admission };
        if self.noting.send(request).is_err() {
            return Err(Refusal::ShuttingDown);
        }
        verdict.await.unwrap_or(Err(Refusal::ShuttingDown))
    }
}

/// How long the streams of articles are. Right as long as the cache of jobs is.
pub(crate) struct Versions {
    articles: LruCache<JobId, (Version, u64)>,
    /// Counts how often another process has written.
    epoch: u64,
}

impl Versions {
    pub(super) fn new() -> Self {
        Self { articles: LruCache::unbounded(), epoch: 0 }
    }

    /// Another process has written: what is here may be behind.
    pub(super) fn outdate(&mut self) {
        self.epoch += 1;
    }

    /// The version, if it is as in the log.
    pub(super) fn exact(&mut self, article: JobId) -> Option<Version> {
        self.articles.get(&article).filter(|(_, epoch)| *epoch == self.epoch).map(|(version, _)| *version)
    }

    /// Keeps a version as it is in the log, or will be after this batch.
    pub(super) fn put(&mut self, article: JobId, version: Version) {
        self.articles.put(article, (version, self.epoch));
    }

    /// Makes room. Between batches, so that no batch loses an article that it needs.
    pub(super) fn trim(&mut self) {
        while self.articles.len() > MAX_VERSIONS {
            self.articles.pop_lru();
        }
    }

    pub(super) fn clear(&mut self) {
        self.articles.clear();
    }
}

impl Intake {
    /// The idempotency keys that ratings name.
    pub(super) fn keys_of_ratings(&self) -> impl Iterator<Item = IdempotencyKey> + '_ {
        self.notes.iter().filter_map(|request| request.key().map(|(key, _)| key))
    }
}

impl EngineLoop {
    /// Learns the versions of all articles that the batch names.
    pub(super) async fn load_versions(&mut self, intake: &Intake) -> Result<(), StoreError> {
        let versions = &mut self.cache.versions;
        let articles: BTreeSet<JobId> = intake.notes.iter().map(|request| request.article).collect();
        let unknown: Vec<JobId> =
            articles.into_iter().filter(|article| versions.exact(*article).is_none()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let streams: Vec<StreamId> = unknown.iter().map(|article| StreamId::Content(*article)).collect();
        let found = self.writer.versions(&streams).await?;
        for (article, version) in unknown.into_iter().zip(found) {
            versions.put(article, version);
        }
        Ok(())
    }
}

impl BatchPlan<'_> {
    /// Decides a command about an article. Needs its version in the cache.
    pub(crate) fn note(
        &mut self,
        article: JobId,
        command: &ContentCommand,
        meta: &Meta,
    ) -> Result<Noted, Refusal> {
        let key = key(article, command, &meta.tenant);
        if let Some((key, owner)) = &key
            && let Some(known) = self.circumstances.owners.get(key)
        {
            return match known == owner {
                true => Ok(Noted { position: self.head.position, replayed: true }),
                false => Err(Refusal::KeyReused(key.key.clone())),
            };
        }
        let Some(mut version) = self.cache.versions.exact(article) else {
            let message = format!("the version of the content of {article} is not known");
            return Err(Refusal::Unavailable { message, retry_after: Duration::from_secs(1) });
        };
        for (event, encoded) in
            encode(content::decide(command.clone()).into_iter().map(Event::Content).collect())?
        {
            version = version.next();
            let recorded = self.record(StreamId::Content(article), version, encoded, meta.clone());
            self.batch.entries.push(Entry { recorded, event });
        }
        self.cache.versions.put(article, version);
        if let Some((key, owner)) = key {
            self.circumstances.owners.insert(key.clone(), owner);
            self.batch.keys.push((key, owner));
        }
        Ok(Noted { position: self.head.position, replayed: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn article(n: u128) -> JobId {
        JobId(Uuid::from_u128(n))
    }

    #[test]
    fn what_another_process_may_have_changed_is_not_exact() {
        let mut versions = Versions::new();
        assert_eq!(versions.exact(article(1)), None);
        versions.put(article(1), Version(3));
        assert_eq!(versions.exact(article(1)), Some(Version(3)));
        versions.outdate();
        assert_eq!(versions.exact(article(1)), None);
        versions.put(article(1), Version(4));
        versions.clear();
        assert_eq!(versions.exact(article(1)), None);
    }

    #[test]
    fn the_articles_of_long_ago_are_forgotten() {
        let mut versions = Versions::new();
        for n in 0..=MAX_VERSIONS as u128 {
            versions.put(article(n), Version(1));
        }
        assert_eq!(versions.exact(article(0)), Some(Version(1)));
        versions.trim();
        assert_eq!(versions.articles.len(), MAX_VERSIONS);
        assert_eq!((versions.exact(article(1)), versions.exact(article(0))), (None, Some(Version(1))));
    }
}
