//! What other processes let this engine know, collected until it looks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use quillwork_domain::id::Position;
use tokio::sync::Notify;

use crate::ports::store::{News, Notice};

/// Notices that came since the engine looked last, merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The log had grown so far when these handlers got tasks.
    pub(crate) head: Position,
    /// Handlers that may have got tasks.
    pub(crate) handlers: BTreeSet<Arc<str>>,
    /// Nothing is known: any handler may have got tasks.
    pub(crate) any: bool,
    /// A job may have been cancelled whose stage runs here.
    pub(crate) cancelled: bool,
}

/// Shared by the engine and whoever listens to the store.
#[derive(Clone)]
pub(crate) struct Hints {
    shared: Arc<Shared>,
}

struct Shared {
    /// The handlers that have slots here.
    served: BTreeSet<Arc<str>>,
    pending: Mutex<Pending>,
    notify: Notify,
}

impl Hints {
    /// Hints for a process that has slots for these handlers.
    pub(crate) fn new(served: BTreeSet<Arc<str>>) -> Self {
        let shared = Shared { served, pending: Mutex::default(), notify: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Wakes the engine if the notice may concern it.
    pub(crate) fn give(&self, notice: Notice) {
        let mut pending = self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        match notice {
            Notice::Written { head, news: News { mut waiting, cancelled }, .. } => {
                waiting.retain(|handler| self.shared.served.contains(handler));
                if waiting.is_empty() && !cancelled {
                    return;
                }
                pending.head = pending.head.max(head);
                pending.handlers.extend(waiting);
                pending.cancelled |= cancelled;
            }
            Notice::Unknown { .. } => (pending.any, pending.cancelled) = (true, true),
        }
        drop(pending);
        self.shared.notify.notify_one();
    }

    /// Waits for a hint.
    pub(crate) async fn given(&self) {
        self.shared.notify.notified().await;
    }

    /// Takes what came.
    pub(crate) fn take(&self) -> Pending {
        std::mem::take(&mut *self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
