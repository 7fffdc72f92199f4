//! The form in which events leave the log: one JSON object each, for clients, auditors and exports.
//!
//! `data` stands last and byte for byte as stored, so that a reader can cut it out of the line and recompute its
//! digest: everything between the first `,"data":` and the last `}` of a line.
//!
//! Where events are not in a file although others follow, a line of its own says so: [`Hole`]. A file of events that
//! left the log begins with a line that tells it from an export: [`ArchiveHead`].

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::archive::Run;
use crate::envelope::{Meta, Recorded};
use crate::id::{Position, StreamId, Version};
use crate::payload::Sha256Digest;
use crate::time::Timestamp;

/// An event as clients and auditors see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedEvent {
    pub position: Position,
    /// `job-<uuid>`, `queues` or `archive`.
    pub stream: String,
    pub version: Version,
    pub id: Uuid,
    pub kind: String,
    pub schema_version: u16,
    pub recorded_at: Timestamp,
    pub actor: String,
    pub tenant: String,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
    pub traceparent: Option<String>,
    pub hash: Sha256Digest,
    pub data: Box<RawValue>,
}

/// An event that cannot be exported or read back.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the data of event {position} is not JSON")]
    Data { position: Position, source: serde_json::Error },
    #[error("not an exported event")]
    Line(#[source] serde_json::Error),
    #[error("stream {0:?} is neither job-<uuid> nor queues nor archive")]
    Stream(String),
}

impl ExportedEvent {
    pub fn new(recorded: &Recorded) -> Result<Self, ExportError> {
        let data = serde_json::from_slice(&recorded.data)
            .map_err(|source| ExportError::Data { position: recorded.position, source })?;
        Ok(Self {
            position: recorded.position,
            stream: recorded.stream.to_string(),
            version: recorded.version,
            id: recorded.event_id,
            kind: recorded.kind.clone().into_owned(),
            schema_version: recorded.schema_version,
            recorded_at: recorded.recorded_at,
            actor: recorded.meta.actor.as_ref().to_owned(),
            tenant: recorded.meta.tenant.as_ref().to_owned(),
            correlation_id: recorded.meta.correlation_id,
            causation_id: recorded.meta.causation_id,
            traceparent: recorded.meta.traceparent.clone(),
            hash: recorded.hash,
            data,
        })
    }

    /// One line of NDJSON, without the line break.
    pub fn to_line(&self) -> Result<String, ExportError> {
        serde_json::to_string(self).map_err(ExportError::Line)
    }

    /// Reads a line that [`ExportedEvent::to_line`] wrote.
    pub fn from_line(line: &str) -> Result<Self, ExportError> {
        serde_json::from_str(line).map_err(ExportError::Line)
    }

    /// The event as it was recorded.
    pub fn into_recorded(self) -> Result<Recorded, ExportError> {
        let Some(stream) = StreamId::from_name(&self.stream) else {
            return Err(ExportError::Stream(self.stream));
        };
        Ok(Recorded {
            position: self.position,
            stream,
            version: self.version,
            event_id: self.id,
            kind: self.kind.into(),
            schema_version: self.schema_version,
            data: self.data.get().as_bytes().to_vec(),
            meta: Meta {
                actor: self.actor.into(),
                tenant: self.tenant.into(),
                correlation_id: self.correlation_id,
                causation_id: self.causation_id,
                traceparent: self.traceparent,
            },
            recorded_at: self.recorded_at,
            hash: self.hash,
        })
    }
}

/// Positions that are not in the file, and the hash that the next event is linked to: `{"hole":{"first":3,…}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hole {
    pub hole: Run,
}

/// The first line of a file of archived events: `{"archive":{"through":…}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveHead {
    pub archive: ArchiveInfo,
}

/// What an archive is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveInfo {
    /// All of its jobs ended before this time.
    pub through: Timestamp,
}

/// One line of an export or an archive.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    Event(Recorded),
    Hole(Run),
    Archive(ArchiveInfo),
}

impl Line {
    /// Without the line break.
    pub fn write(&self) -> Result<String, ExportError> {
        match self {
            Self::Event(recorded) => ExportedEvent::new(recorded)?.to_line(),
            Self::Hole(run) => serde_json::to_string(&Hole { hole: *run }).map_err(ExportError::Line),
            Self::Archive(info) => {
                serde_json::to_string(&ArchiveHead { archive: *info }).map_err(ExportError::Line)
            }
        }
    }

    /// Reads what [`Line::write`] wrote.
    pub fn read(text: &str) -> Result<Self, ExportError> {
        if text.starts_with("{\"hole\":") {
            return serde_json::from_str(text)
                .map(|Hole { hole }| Self::Hole(hole))
                .map_err(ExportError::Line);
        }
        if text.starts_with("{\"archive\":") {
            return serde_json::from_str(text)
                .map(|ArchiveHead { archive }| Self::Archive(archive))
                .map_err(ExportError::Line);
        }
        ExportedEvent::from_line(text).and_then(ExportedEvent::into_recorded).map(Self::Event)
    }
}
