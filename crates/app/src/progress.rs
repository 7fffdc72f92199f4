//! How far running stages are, for people who watch. Not events: lost with the process, and dropped when nobody looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quillwork_domain::id::JobId;
use quillwork_domain::plan::StageIndex;
use serde::Serialize;
use tokio::sync::broadcast;

/// The latest word of a running stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageProgress {
    #[serde(skip)]
    pub job: JobId,
    #[serde(skip)]
    pub index: StageIndex,
    pub stage: String,
    pub done: u64,
    /// 0 while unknown.
    pub total: u64,
    pub message: String,
}

/// Where stages report and watchers listen. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProgressBoard {
    latest: Arc<Mutex<BTreeMap<(JobId, StageIndex), StageProgress>>>,
    updates: broadcast::Sender<StageProgress>,
}

impl Default for ProgressBoard {
    fn default() -> Self {
        Self { latest: Arc::default(), updates: broadcast::channel(256).0 }
    }
}

impl ProgressBoard {
    /// Replaces what the stage said before.
    pub fn report(&self, progress: StageProgress) {
        let key = (progress.job, progress.index);
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(key, progress.clone());
        // Nobody listening is fine.
        let _ = self.updates.send(progress);
    }

    /// Forgets a stage that ended.
    pub fn clear(&self, job: JobId, stage: StageIndex) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).remove(&(job, stage));
    }

    /// What the job's stages said last, in plan order, while they run in this process.
    pub fn latest(&self, job: JobId) -> Vec<StageProgress> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let of = latest.range((job, StageIndex(0))..=(job, StageIndex(u16::MAX)));
        of.map(|(_, progress)| progress.clone()).collect()
    }

    /// Every report from now on; a slow listener misses some.
    pub fn listen(&self) -> broadcast::Receiver<StageProgress> {
        self.updates.subscribe()
    }
}
