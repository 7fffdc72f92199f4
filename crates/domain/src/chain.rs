//! The hash chain that makes the log tamper-evident.
//!
//! The hash of an event is SHA-256 over these lines, joined by `\n`, in UTF-8:
//!
//! ```text
//! hash of the event before (64 hex digits; 64 zeros for the first event)
//! position
//! stream, as in job-019e…, queues or archive
//! version
//! id
//! kind
//! schema_version
//! recorded_at, RFC 3339 in UTC with milliseconds
//! actor
//! tenant
//! correlation_id
//! causation_id, empty if there is none
//! traceparent, empty if there is none
//! SHA-256 of the bytes of data, 64 hex digits
//! ```
//!
//! Every line stands in an exported event as it is hashed, so that an outsider can recompute the chain. No line can
//! contain a line break, because the API admits no control characters into `actor`, `tenant` and `traceparent`.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::envelope::Recorded;
use crate::id::{JobId, StreamId};
use crate::payload::Sha256Digest;

/// What the first event is linked to.
pub const GENESIS: Sha256Digest = Sha256Digest([0; 32]);

/// The hash of `event`, linked to the event before it. `event.hash` is not read.
pub fn link(previous: &Sha256Digest, event: &Recorded) -> Sha256Digest {
    let mut text = Text(Vec::with_capacity(512));
    let meta = &event.meta;
    text.digest(previous);
    text.number(event.position.0);
    text.stream(event.stream);
    text.number(event.version.0);
    text.id(event.event_id);
    text.line(event.kind.as_bytes());
    text.number(event.schema_version.into());
    text.line(&event.recorded_at.to_rfc3339());
    text.line(meta.actor.as_bytes());
    text.line(meta.tenant.as_bytes());
    text.id(meta.correlation_id);
    match meta.causation_id {
        Some(causation_id) => text.id(causation_id),
        None => text.line(b""),
    }
    text.line(meta.traceparent.as_deref().unwrap_or_default().as_bytes());
    Sha256Digest::of(&event.data).write_hex(&mut text.0);
    Sha256Digest(Sha256::digest(&text.0).into())
}

/// The lines, without the formatter: every event of the log passes through here.
struct Text(Vec<u8>);

impl Text {
    fn line(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
        self.0.push(b'\n');
    }

    fn digest(&mut self, digest: &Sha256Digest) {
        digest.write_hex(&mut self.0);
        self.0.push(b'\n');
    }

    fn number(&mut self, number: u64) {
        self.line(itoa::Buffer::new().format(number).as_bytes());
    }

    fn id(&mut self, id: Uuid) {
        self.line(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    }

    fn stream(&mut self, stream: StreamId) {
        match stream {
            StreamId::Job(JobId(id)) => {
                self.0.extend_from_slice(b"job-");
                self.id(id);
            }
            StreamId::Queues => self.line(b"queues"),
            StreamId::Archive => self.line(b"archive"),
            StreamId::Content(JobId(id)) => {
                self.0.extend_from_slice(b"content-");
                self.id(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Meta;
    use crate::id::{Position, Version};
    use crate::time::Timestamp;

    fn event() -> Recorded {
        Recorded {
            position: Position(1),
            stream: JobId(Uuid::from_u128(1)).into(),
            version: Version(1),
            event_id: Uuid::from_u128(2),
            kind: "JobCompleted".into(),
            schema_version: 1,
            data: b"{}".to_vec(),
            meta: Meta {
                actor: "client".into(),
                tenant: "default".into(),
                correlation_id: Uuid::from_u128(3),
                causation_id: None,
                traceparent: None,
            },
            recorded_at: Timestamp::from_millis(0),
            hash: GENESIS,
        }
    }

    /// Computed with `printf '…' | sha256sum`: the formula is frozen.
    #[test]
    fn formula() {
        let lines = [
            "0".repeat(64),
            "1\njob-00000000-0000-0000-0000-000000000001\n1\n00000000-0000-0000-0000-000000000002".into(),
            "JobCompleted\n1\n1970-01-01T00:00:00.000Z\nclient\ndefault".into(),
            "00000000-0000-0000-0000-000000000003\n\n".into(),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".into(),
        ];
        assert_eq!(link(&GENESIS, &event()), Sha256Digest::of(lines.join("\n").as_bytes()));
        assert_eq!(
            link(&GENESIS, &event()).to_string(),
            "1dc13e597a6680bb4b6f11865c99ec64e15bd82b61ac3170651e1c153ecd8e06"
        );
    }

    #[test]
    fn every_field_counts() {
        let original = link(&GENESIS, &event());
        let changes: [fn(&mut Recorded); 13] = [
            |e| e.position = Position(2),
            |e| e.stream = JobId(Uuid::from_u128(9)).into(),
            |e| e.version = Version(2),
            |e| e.event_id = Uuid::from_u128(9),
            |e| e.kind = "JobFailed".into(),
            |e| e.schema_version = 2,
            |e| e.data = b"[]".to_vec(),
            |e| e.meta.actor = "x".into(),
            |e| e.meta.tenant = "x".into(),
            |e| e.meta.correlation_id = Uuid::from_u128(9),
            |e| e.meta.causation_id = Some(Uuid::from_u128(9)),
            |e| e.meta.traceparent = Some("x".into()),
            |e| e.recorded_at = Timestamp::from_millis(1),
        ];
        for change in changes {
            let mut changed = event();
            change(&mut changed);
            assert_ne!(link(&GENESIS, &changed), original, "{changed:?}");
        }
        assert_ne!(link(&original, &event()), original);
    }
}
