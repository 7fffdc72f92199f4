//! Views of articles, many at once.
//!
//! Whoever views an article while a commit with views of it is on its way goes with the next one: the more view it, the
//! fewer events there are for each. Nobody waits for company, and what is answered is durable.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quillwork_domain::content::ContentCommand;
use quillwork_domain::id::JobId;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::engine::{Caller, Engine, Noted, Refusal};

/// Viewers that wait for a commit, of all articles together; more are refused as busy.
const MAX_WAITING: usize = 65_536;

/// Who acts in the record. An event has views of many, and none of them is named.
const ACTOR: &str = "readers";

/// Cheap to clone.
#[derive(Clone)]
pub struct Views {
    engine: Engine,
    board: Arc<Mutex<Board>>,
}

#[derive(Default)]
struct Board {
    /// The articles of which a commit is on its way, and who goes with the next one.
    articles: HashMap<JobId, Next>,
    n_waiting: usize,
}

/// What goes with the next commit of an article.
#[derive(Default)]
struct Next {
    count: u64,
    waiting: Vec<oneshot::Sender<Result<Noted, Refusal>>>,
    /// The request of the first of them.
    correlation_id: Uuid,
}

impl Views {
    pub fn new(engine: Engine) -> Self {
        Self { engine, board: Arc::default() }
    }

    /// Records `count` views of an article of `tenant`, and answers when they are durable.
    pub async fn add(
        &self,
        article: JobId,
        count: u64,
        (tenant, correlation_id): (Arc<str>, Uuid),
    ) -> Result<Noted, Refusal> {
        let (tell, answer) = oneshot::channel();
        let is_first = {
            let mut board = self.board();
            if board.n_waiting >= MAX_WAITING {
                return Err(Refusal::Busy { retry_after: Duration::from_secs(1) });
            }
            board.n_waiting += 1;
            let is_first = !board.articles.contains_key(&article);
            let next = board.articles.entry(article).or_default();
            if next.waiting.is_empty() {
                next.correlation_id = correlation_id;
            }
            next.count = next.count.saturating_add(count);
            next.waiting.push(tell);
            is_first
        };
        if is_first {
            // On its own, because whoever came first may hang up.
            tokio::spawn(self.clone().record(article, tenant));
        }
        answer.await.unwrap_or(Err(Refusal::ShuttingDown))
    }

    /// Commits until nobody waits.
    async fn record(self, article: JobId, tenant: Arc<str>) {
        loop {
            let Next { count, waiting, correlation_id } = {
                let mut board = self.board();
                match board.articles.get_mut(&article).map(mem::take) {
                    Some(next) if !next.waiting.is_empty() => next,
                    Some(_) | None => {
                        board.articles.remove(&article);
                        return;
                    }
                }
            };
            let (actor, tenant) = (ACTOR.into(), tenant.clone());
            let caller = Caller { actor, tenant, correlation_id, traceparent: None };
            let noted = self.engine.note(caller, article, ContentCommand::View { count }).await;
            self.board().n_waiting -= waiting.len();
            for tell in waiting {
                // Whoever hung up does not care.
                let _ = tell.send(noted.clone());
            }
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
