//! Which events the stream of an article may have.

use quillwork_domain::content::ContentEvent;
use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::JobId;
use quillwork_domain::job::Event;
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::wire;

use crate::audit::finding::Rule;
use crate::audit::log::LogAudit;
use crate::ports::store::{IdempotencyKey, KeyOwner};

impl LogAudit {
    /// Checks the next event of the article of a job.
    pub(super) fn check_content(&mut self, recorded: &Recorded, article: JobId, event: &Event) {
        let before = self.contents.get(&article).copied().unwrap_or_default();
        let version = self.check_version(recorded, before);
        self.contents.insert(article, version);
        // A job that left the log, or began before what is read, is not known.
        if self.jobs.is_open(article) {
            self.report(Rule::Content, recorded, "the job has not completed, so there is no article".into());
        }
        let Event::Content(event) = event else {
            let message = format!("{} in the stream of an article", wire::kind(event));
            return self.report(Rule::Content, recorded, message);
        };
        match event {
            ContentEvent::Viewed(viewed) if viewed.count == 0 => {
                self.report(Rule::Content, recorded, "ContentViewed with no views".into());
            }
            ContentEvent::Viewed(_) | ContentEvent::Rated(_) => {}
        }
        if let Some((key, owner)) = rating_key(&recorded.meta.tenant, article, event)
            && !self.keys.insert(&key, &owner)
        {
            let message = "the idempotency key was taken before".into();
            self.report(Rule::Keys, recorded, message);
        }
    }
}

/// The idempotency key of a rating, with its owner.
pub(super) fn rating_key(
    tenant: &str,
    article: JobId,
    event: &ContentEvent,
) -> Option<(IdempotencyKey, KeyOwner)> {
    let ContentEvent::Rated(rated) = event else { return None };
    let key = rated.idempotency_key.clone()?;
    let digest = rated.request_digest.unwrap_or(Sha256Digest([0; 32]));
    Some((IdempotencyKey { tenant: tenant.to_owned(), key }, KeyOwner { job: article, digest }))
}
