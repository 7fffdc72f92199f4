//! Removing the dead rows of the queue.
//!
//! Each job leaves some behind, and so many jobs pass in a minute, which is how often a server looks for what to vacuum,
//! that the queue would mostly consist of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quillwork_app::ports::store::TaskWrite;
use sqlx::{Connection as _, Executor as _};

use crate::postgres::place::Place;

/// After so many rows it is worth the while: some megabytes.
const DEAD_ROWS: usize = 10_000;

/// A sweep that takes longer waits for a connection that nobody answers on.
const STUCK: Duration = Duration::from_secs(900);

/// Beside whoever reads and writes. A role that does not own the table may not, and is only warned; then it is left to
/// the server, as it is if the server is at it already. Nothing is given back to the file system, which would keep
/// everybody out for a moment.
pub(super) const SWEEP: &str = "VACUUM (SKIP_LOCKED, TRUNCATE off, ANALYZE off) quillwork.tasks";

/// Counts what one process leaves behind.
pub(super) struct Sweeper {
    place: Place,
    n_dead: usize,
    /// One sweep at a time.
    sweeps: Arc<AtomicBool>,
}

impl Sweeper {
    pub(super) fn new(place: Place) -> Self {
        Self { place, n_dead: 0, sweeps: Arc::default() }
    }

    /// These writes are committed. Sweeps in the background once they have left many dead rows.
    pub(super) fn written(&mut self, writes: &[TaskWrite]) {
        let kills = |write: &&TaskWrite| match write {
            TaskWrite::Insert { .. } => false,
            TaskWrite::Move { .. } | TaskWrite::Delete { .. } => true,
        };
        self.n_dead += writes.iter().filter(kills).count();
        if self.n_dead < DEAD_ROWS || self.sweeps.swap(true, Ordering::Relaxed) {
            return;
        }
        self.n_dead = 0;
        let (place, sweeps) = (self.place.clone(), self.sweeps.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(STUCK, sweep(&place)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the queue is left for the server to vacuum"),
                Err(_) => tracing::debug!("the queue is left for the server to vacuum: it does not answer"),
            }
            sweeps.store(false, Ordering::Relaxed);
        });
    }
}

async fn sweep(place: &Place) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // A connection of its own: the writer's is busy, and this is seldom.
    let mut conn = place.connect().await?;
    conn.execute(sqlx::raw_sql(SWEEP)).await?;
    conn.close().await?;
    Ok(())
}
