//! What free slots may be filled with: as far as the controls of the queues allow, and what the store has waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use quillwork_domain::time::Timestamp;

use crate::engine::run::EngineLoop;
use crate::ports::store::{StoreError, Task};

/// A number for each handler.
pub(crate) type PerHandler = BTreeMap<Arc<str>, usize>;

/// What one batch may start.
#[derive(Debug, Default)]
pub(crate) struct Supply {
    /// How many stages of each handler: its free slots, less what a limit of the fleet forbids.
    pub(crate) room: PerHandler,
    /// Due tasks of the store, in the order in which they are started, for each handler that may have some.
    pub(crate) found: BTreeMap<Arc<str>, Found>,
    /// Handlers under a limit of the fleet of which a stage ends in this batch: others may want to start one.
    pub(crate) relieved: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) tasks: Vec<Task>,
    /// The store has no more of them.
    pub(crate) exhausted: bool,
    /// The store told of more of them, for which there will be no room.
    pub(crate) trimmed: bool,
}

impl Found {
    /// The store was not asked.
    pub(crate) fn nothing(exhausted: bool) -> Self {
        Self { tasks: vec![], exhausted, trimmed: false }
    }
}

impl EngineLoop {
    /// What `free` slots can be filled with at `now`, when the stages in `ending` end and `following` may follow on them.
    pub(super) async fn supply(
        &mut self,
        free: PerHandler,
        ending: PerHandler,
        mut following: BTreeMap<Arc<str>, Vec<Task>>,
        now: Timestamp,
    ) -> Result<Supply, StoreError> {
        self.refresh_controls().await?;
        let limited: Vec<(Arc<str>, usize)> = free
            .keys()
            .chain(ending.keys())
            .filter_map(|handler| Some((handler.clone(), self.controls.control(handler).max_running?)))
            .map(|(handler, limit)| (handler, limit as usize))
            .collect::<PerHandler>()
            .into_iter()
            .collect();
        let mut room = free;
        room.retain(|handler, _| !self.controls.control(handler).paused);
        if !limited.is_empty() {
            let handlers: Vec<Arc<str>> = limited.iter().map(|(handler, _)| handler.clone()).collect();
            let held = self.writer.held_by_handler(&handlers).await?;
            for ((handler, limit), held) in limited.iter().zip(held) {
                let held = usize::try_from(held).unwrap_or(usize::MAX);
                let staying = held.saturating_sub(ending.get(handler).copied().unwrap_or(0));
                if let Some(room) = room.get_mut(handler) {
                    *room = (*room).min(limit.saturating_sub(staying));
                }
            }
        }
        let relieved =
            limited.into_iter().map(|(handler, _)| handler).filter(|handler| ending.contains_key(handler));

        let claims: Vec<_> =
            room.iter().filter_map(|(handler, room)| self.queues.claim(handler, *room)).collect();
        let mut found = BTreeMap::new();
        if !claims.is_empty() {
            let tasks = match self.glance.answer(&claims, self.head.position) {
                Some(seen) => seen,
                None => self.writer.ready(&claims, now).await?,
            };
            for (claim, tasks) in claims.into_iter().zip(tasks) {
                let exhausted = tasks.len() < claim.limit;
                let following = following.remove(&claim.handler).unwrap_or_default();
                // Jobs are loaded only if they can be started.
                let n_told = tasks.len();
                let tasks = self.queues.first(&claim.handler, tasks, following, exhausted, claim.limit);
                let trimmed = tasks.len() < n_told;
                found.insert(claim.handler, Found { tasks, exhausted, trimmed });
            }
        }
        Ok(Supply { relieved: relieved.collect(), room, found })
    }
}
