//! Who of this process is asking what at this moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use quillwork_app::ports::cache::CacheKey;

/// The one that holds the lock asks; what it learns lies here for those who wait. If it fails or gives up, the next one
/// finds nothing and asks itself.
pub(super) type Flight = tokio::sync::Mutex<Option<Bytes>>;

/// At most one entry per question that is being asked.
#[derive(Default)]
pub(super) struct Flights {
    flights: Mutex<HashMap<CacheKey, Weak<Flight>>>,
}

/// A place on a flight; the last one to leave ends it.
pub(super) struct Seat {
    flights: Arc<Flights>,
    key: CacheKey,
    flight: Arc<Flight>,
}

impl Flights {
    pub(super) fn board(self: &Arc<Self>, key: CacheKey) -> Seat {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let flight = flights.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let flight = Arc::new(Flight::default());
            flights.insert(key, Arc::downgrade(&flight));
            flight
        });
        drop(flights);
        Seat { flights: self.clone(), key, flight }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.flights.lock().unwrap().len()
    }
}

impl Seat {
    pub(super) fn flight(&self) -> Arc<Flight> {
        self.flight.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut flights = self.flights.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody boards while the map is locked.
        if Arc::strong_count(&self.flight) == 1 {
            flights.remove(&self.key);
        }
    }
}
