//! The stored form of events: the only place that serializes and parses them.
//!
//! A stored event is a kind, a schema version and JSON bytes, and beside them who and why in a compact form. Shapes are frozen by the golden files in `tests/wire/`;
//! a changed shape is a new schema version with an upcast here, and the old golden file stays.

mod meta;
pub(crate) mod plan;

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::content::ContentEvent;
use crate::envelope::Recorded;
use crate::job::Event;
use crate::queue::QueueEvent;

pub use meta::{MetaError, decode_meta, decode_tenant, encode_meta};

/// The stored form of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub kind: &'static str,
    pub schema_version: u16,
    /// Compact JSON, an object.
    pub data: Vec<u8>,
}

/// An event that this version cannot read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(
        "event kind {kind:?} with schema version {schema_version} is not known; a newer version may have written it"
    )]
    Unknown { kind: String, schema_version: u16 },
    #[error("the data of a {kind} event does not have its shape")]
    Malformed { kind: String, source: serde_json::Error },
}

/// All kinds of events, as stored and shown.
pub const KINDS: [&str; 19] = [
    "JobSubmitted",
    "StageStarted",
    "StepRecorded",
    "StageCompleted",
    "StageFailed",
    "JobCompleted",
    "JobFailed",
    "JobCancelled",
    "JobRetried",
    "QueuePaused",
    "QueueResumed",
    "QueueLimited",
    "JobsArchived",
    "StagesReopened",
    "ContentViewed",
    "ContentRated",
    "JobPaused",
    "JobResumed",
    "BudgetSet",
];

/// The kind called `name`, without a copy if it is one of [`KINDS`].
pub fn kind_named(name: &str) -> Cow<'static, str> {
    match KINDS.into_iter().find(|kind| *kind == name) {
        Some(kind) => Cow::Borrowed(kind),
        None => Cow::Owned(name.to_owned()),
    }
}

/// The name of the event's kind.
pub fn kind(event: &Event) -> &'static str {
    match event {
        Event::JobSubmitted(_) => KINDS[0],
        Event::StageStarted(_) => KINDS[1],
        Event::StepRecorded(_) => KINDS[2],
        Event::StageCompleted(_) => KINDS[3],
        Event::StageFailed(_) => KINDS[4],
        Event::JobCompleted(_) => KINDS[5],
        Event::JobFailed(_) => KINDS[6],
        Event::JobCancelled(_) => KINDS[7],
        Event::JobRetried(_) => KINDS[8],
        Event::Queue(QueueEvent::Paused(_)) => KINDS[9],
        Event::Queue(QueueEvent::Resumed(_)) => KINDS[10],
        Event::Queue(QueueEvent::Limited(_)) => KINDS[11],
        Event::Archive(_) => KINDS[12],
        Event::StagesReopened(_) => KINDS[13],
        Event::Content(ContentEvent::Viewed(_)) => KINDS[14],
        Event::Content(ContentEvent::Rated(_)) => KINDS[15],
        Event::JobPaused(_) => KINDS[16],
        Event::JobResumed(_) => KINDS[17],
        Event::BudgetSet(_) => KINDS[18],
    }
}

/// Writes an event.
///
/// Fails only if a payload is not JSON, which its type excludes.
pub fn encode(event: &Event) -> Result<Encoded, serde_json::Error> {
    let data = match event {
        Event::JobSubmitted(data) => {
            let settings = data.settings.as_ref().map_or(0, |settings| settings.get().len());
            to_json_of(data.as_ref(), data.plan.len() * 64 + data.topic.len() + settings)
        }
        Event::StageStarted(data) => to_json(data),
        Event::StepRecorded(data) => to_json_of(data, data.output.n_bytes()),
        Event::StageCompleted(data) => to_json_of(data, data.output.n_bytes()),
        Event::StageFailed(data) => to_json(data),
        Event::JobCompleted(data) => to_json(data),
        Event::JobFailed(data) => to_json(data),
        Event::JobCancelled(data) => to_json(data),
        Event::JobRetried(data) => to_json(data),
        Event::StagesReopened(data) => to_json(data),
        Event::JobPaused(data) => to_json(data),
        Event::JobResumed(data) => to_json(data),
        Event::BudgetSet(data) => to_json(data),
        Event::Queue(QueueEvent::Paused(data)) => to_json(data),
        Event::Queue(QueueEvent::Resumed(data)) => to_json(data),
        Event::Queue(QueueEvent::Limited(data)) => to_json(data),
        Event::Archive(data) => to_json(data),
        Event::Content(ContentEvent::Viewed(data)) => to_json(data),
        Event::Content(ContentEvent::Rated(data)) => to_json(data),
    }?;
    // Version 2 may leave out policies, see `plan`.
    let schema_version = if matches!(event, Event::JobSubmitted(_)) { 2 } else { 1 };
    Ok(Encoded { kind: kind(event), schema_version, data })
}

fn to_json<T: Serialize>(data: &T) -> Result<Vec<u8>, serde_json::Error> {
    to_json_of(data, 0)
}

/// Writes what holds texts and payloads of `n_bytes`, in one piece of memory.
fn to_json_of<T: Serialize>(data: &T, n_bytes: usize) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = Vec::with_capacity(128 + n_bytes);
    serde_json::to_writer(&mut json, data)?;
    Ok(json)
}

/// Reads a recorded event of any schema version that was ever written.
pub fn decode(recorded: &Recorded) -> Result<Event, DecodeError> {
    decode_parts(&recorded.kind, recorded.schema_version, &recorded.data)
}

/// Reads an event from its parts.
pub fn decode_parts(kind: &str, schema_version: u16, data: &[u8]) -> Result<Event, DecodeError> {
    fn parse<T: DeserializeOwned>(kind: &str, data: &[u8]) -> Result<T, DecodeError> {
        // Text that is checked as a whole need not be checked string by string.
        let parsed = match std::str::from_utf8(data) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(data),
        };
        parsed.map_err(|source| DecodeError::Malformed { kind: kind.into(), source })
    }
    match (kind, schema_version) {
        ("JobSubmitted", 1 | 2) => parse(kind, data).map(Arc::new).map(Event::JobSubmitted),
        ("StageStarted", 1) => parse(kind, data).map(Event::StageStarted),
        ("StepRecorded", 1) => parse(kind, data).map(Event::StepRecorded),
        ("StageCompleted", 1) => parse(kind, data).map(Event::StageCompleted),
        ("StageFailed", 1) => parse(kind, data).map(Event::StageFailed),
        ("JobCompleted", 1) => parse(kind, data).map(Event::JobCompleted),
        ("JobFailed", 1) => parse(kind, data).map(Event::JobFailed),
        ("JobCancelled", 1) => parse(kind, data).map(Event::JobCancelled),
        ("JobRetried", 1) => parse(kind, data).map(Event::JobRetried),
        ("StagesReopened", 1) => parse(kind, data).map(Event::StagesReopened),
        ("JobPaused", 1) => parse(kind, data).map(Event::JobPaused),
        ("JobResumed", 1) => parse(kind, data).map(Event::JobResumed),
        ("BudgetSet", 1) => parse(kind, data).map(Event::BudgetSet),
        ("QueuePaused", 1) => parse(kind, data).map(QueueEvent::Paused).map(Event::Queue),
        ("QueueResumed", 1) => parse(kind, data).map(QueueEvent::Resumed).map(Event::Queue),
        ("QueueLimited", 1) => parse(kind, data).map(QueueEvent::Limited).map(Event::Queue),
        ("JobsArchived", 1) => parse(kind, data).map(Event::Archive),
        ("ContentViewed", 1) => parse(kind, data).map(ContentEvent::Viewed).map(Event::Content),
        ("ContentRated", 1) => parse(kind, data).map(ContentEvent::Rated).map(Event::Content),
        _ => Err(DecodeError::Unknown { kind: kind.into(), schema_version }),
    }
}

#[cfg(test)]
pub(crate) mod tests;
