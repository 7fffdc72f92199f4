//! How far running stages are, for people who watch. Not events: lost with the process, and dropped when nobody looks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use quillwork_domain::id::JobId;
use serde::Serialize;
use tokio::sync::broadcast;

/// The latest word of a running stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageProgress {
    #[serde(skip)]
    pub job: JobId,
    pub stage: String,
    pub done: u64,
    /// 0 while unknown.
    pub total: u64,
    pub message: String,
}

/// Where stages report and watchers listen. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProgressBoard {
    latest: Arc<Mutex<HashMap<JobId, StageProgress>>>,
    updates: broadcast::Sender<StageProgress>,
}

impl Default for ProgressBoard {
    fn default() -> Self {
        Self { latest: Arc::default(), updates: broadcast::channel(256).0 }
    }
}

impl ProgressBoard {
    /// Replaces what the job's stage said before.
    pub fn report(&self, progress: StageProgress) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(progress.job, progress.clone());
        // Nobody listening is fine.
        let _ = self.updates.send(progress);
    }

    /// Forgets a stage that ended.
    pub fn clear(&self, job: JobId) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }

    /// What the job's stage said last, while it runs in this process.
    pub fn latest(&self, job: JobId) -> Option<StageProgress> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }

    /// Every report from now on; a slow listener misses some.
    pub fn listen(&self) -> broadcast::Receiver<StageProgress> {
        self.updates.subscribe()
    }
}
