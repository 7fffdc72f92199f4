//! Which tasks are held. The one writer keeps this in memory, so that no index has to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use quillwork_app::ports::store::{LeaseToken, TaskKey, TaskWrite};
use rusqlite::{Connection, params};

use crate::sqlite::rows;

/// As many as stages run, and after a crash those that ran.
#[derive(Debug, Default)]
pub(super) struct HeldTasks(HashMap<TaskKey, LeaseToken>);

impl HeldTasks {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        conn.prepare("SELECT stream, stage, lease FROM tasks WHERE lease IS NOT NULL")?
            .query_map([], |row| Ok((rows::key(row)?, LeaseToken(row.get(2)?))))?
            .collect::<rusqlite::Result<_>>()
            .map(Self)
    }

    /// Takes over what a commit has written.
    pub(super) fn follow(&mut self, writes: &[TaskWrite]) {
        for write in writes {
            match write {
                TaskWrite::Insert { task, lease } => self.set(task.key, *lease),
                TaskWrite::Move { key, lease, .. } => self.set(*key, *lease),
                TaskWrite::Delete { key, .. } => self.set(*key, None),
            }
        }
    }

    fn set(&mut self, key: TaskKey, lease: Option<LeaseToken>) {
        match lease {
            Some(lease) => self.0.insert(key, lease),
            None => self.0.remove(&key),
        };
    }

    pub(super) fn by(&self, lease: LeaseToken) -> Vec<TaskKey> {
        self.0.iter().filter(|(_, holder)| **holder == lease).map(|(key, _)| *key).collect()
    }

    /// Up to `limit` tasks whose lease is not among `alive`.
    pub(super) fn orphans(&self, alive: &HashSet<LeaseToken>, limit: usize) -> Vec<(TaskKey, LeaseToken)> {
        let orphans = self.0.iter().filter(|(_, lease)| !alive.contains(lease));
        orphans.map(|(key, lease)| (*key, *lease)).take(limit).collect()
    }

    /// How many tasks of each of `handlers` are held.
    pub(super) fn by_handler(&self, conn: &Connection, handlers: &[Arc<str>]) -> rusqlite::Result<Vec<u64>> {
        let mut counts = vec![0; handlers.len()];
        let mut handler =
            conn.prepare_cached("SELECT handler FROM tasks WHERE stream = ?1 AND stage = ?2")?;
        for key in self.0.keys() {
            let of: String =
                handler.query_row(params![key.job.0.as_bytes(), key.stage.0], |row| row.get(0))?;
            if let Some(index) = handlers.iter().position(|handler| **handler == *of) {
                counts[index] += 1;
            }
        }
        Ok(counts)
    }
}
