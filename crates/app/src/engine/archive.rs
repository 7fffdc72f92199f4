//! Taking finished jobs out of the log, between two batches.

use tokio::sync::oneshot;

use crate::archive::{self, ArchiveError, ArchiveWish, Archived, Done};
use crate::engine::run::EngineLoop;
use crate::engine::{Caller, Engine};

/// A wish that waits for its answer.
pub(crate) struct ArchiveRequest {
    pub(crate) caller: Caller,
    pub(crate) wish: ArchiveWish,
    pub(crate) reply: oneshot::Sender<Result<Archived, ArchiveError>>,
}

impl Engine {
    /// Takes jobs out of the log, all or none, in a commit of its own.
    pub async fn archive(&self, caller: Caller, wish: ArchiveWish) -> Result<Archived, ArchiveError> {
        let (reply, verdict) = oneshot::channel();
        let request = ArchiveRequest { caller, wish, reply };
        if self.archiving.send(request).await.is_err() {
            return Err(ArchiveError::ShuttingDown);
        }
        verdict.await.unwrap_or(Err(ArchiveError::ShuttingDown))
    }
}

impl EngineLoop {
    /// Commits what `request` wishes, and answers.
    pub(super) async fn archive(&mut self, request: ArchiveRequest) {
        let ArchiveRequest { caller, wish, reply } = request;
        let reader = self.feed.reader().clone();
        let verdict = archive::commit(self.writer.as_mut(), reader.as_ref(), &caller, &wish).await;
        let answer = match verdict {
            Ok(Done { before, head, entries, archived }) => {
                self.adopt(before);
                self.head = head;
                for (job, _) in &wish.jobs {
                    self.cache.take(*job);
                }
                self.feed.publish(entries);
                Ok(archived)
            }
            Err(error) => {
                if let ArchiveError::Store(error) = &error {
                    tracing::error!(%error, "the store failed while jobs were archived");
                    self.in_doubt = true;
                    self.forget();
                }
                Err(error)
            }
        };
        // Whoever hung up does not care.
        let _ = reply.send(answer);
    }
}
