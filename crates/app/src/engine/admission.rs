//! Bounded admission: a full house is an honest answer, not a growing buffer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::Refusal;

/// One unit of admission holds a command with this many bytes of client data.
const UNIT_BYTES: usize = 2_048;

/// Counts what waits to be committed, in units of a command.
#[derive(Clone)]
pub(crate) struct Admission {
    units: Arc<Semaphore>,
    max_units: u32,
}

impl Admission {
    /// Room for this many small commands at once; large ones take the room of several.
    pub(crate) fn new(max_pending: u32) -> Self {
        Self { units: Arc::new(Semaphore::new(max_pending as usize)), max_units: max_pending }
    }

    /// Room for a request until the permit is dropped, or a refusal at once.
    pub(crate) fn admit(&self, n_items: usize, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = u32::try_from(n_items + bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        // A request larger than the house gets in when it is empty.
        let units = units.min(self.max_units);
        self.units
            .clone()
            .try_acquire_many_owned(units)
            .map_err(|_| Refusal::Busy { retry_after: Duration::from_secs(1) })
    }
}
