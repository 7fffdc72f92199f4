//! An event as far as a fold needs it.

use std::borrow::Cow;

use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{Position, StreamId};
use quillwork_domain::job::Event;
use quillwork_domain::time::Timestamp;
use quillwork_domain::wire::{self, DecodeError};

/// What happened, to what, when and for whom. What proves it is left out: identity, version, causes and hash.
#[derive(Debug)]
pub struct Happened {
    pub position: Position,
    pub stream: StreamId,
    pub tenant: Cow<'static, str>,
    pub recorded_at: Timestamp,
    /// An error if this version cannot read the event.
    pub event: Result<Event, DecodeError>,
}

impl From<Recorded> for Happened {
    fn from(recorded: Recorded) -> Self {
        Self {
            position: recorded.position,
            stream: recorded.stream,
            event: wire::decode(&recorded),
            tenant: recorded.meta.tenant.as_ref().to_owned().into(),
            recorded_at: recorded.recorded_at,
        }
    }
}
