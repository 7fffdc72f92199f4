//! An event as it is recorded: what happened, and who, why, when and where in the log.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{Position, StreamId, Version};
use crate::payload::Sha256Digest;
use crate::time::Timestamp;

/// Who and why. The same for all events of one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Who acted: `client`, a user, `worker`, `reaper`.
    pub actor: Arc<str>,
    pub tenant: Arc<str>,
    /// The request that all this began with.
    pub correlation_id: Uuid,
    /// The event that made this one happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// W3C trace context, carried through the queue into the stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// One recorded event. `data` is the exact bytes that [`crate::wire`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub position: Position,
    pub stream: StreamId,
    pub version: Version,
    pub event_id: Uuid,
    /// Unknown kinds can be carried, verified and exported, but not folded.
    pub kind: Cow<'static, str>,
    pub schema_version: u16,
    pub data: Vec<u8>,
    pub meta: Meta,
    pub recorded_at: Timestamp,
    /// See [`crate::chain`].
    pub hash: Sha256Digest,
}
