//! Whatever is changed after the fact is found and named.

use std::sync::Arc;

use quillwork_domain::envelope::Recorded;
use quillwork_domain::id::{Position, StreamId, Version};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::time::Timestamp;
use uuid::Uuid;

use super::memory::{Memory, job, small, valid};
use crate::audit::{ExportStart, Finding, Report, Rule, Scope, derive_queue, verify_export, verify_store};
use crate::ports::store::LeaseToken;

async fn verify(log: &Memory) -> Report {
    verify_store(log, Scope::Everything, |_, _| {}).await.unwrap()
}

fn verify_lines(lines: &[u8]) -> Report {
    verify_export(lines, ExportStart::default()).unwrap()
}

#[track_caller]
fn assert_finds(report: &Report, rule: Rule, wanted: impl Fn(&Finding) -> bool) {
    assert!(!report.ok);
    let found = report.findings.iter().any(|finding| finding.rule == rule && wanted(finding));
    assert!(found, "no such {rule} finding in {:#?}", report.findings);
}

#[tokio::test]
async fn a_valid_log_passes() {
    let log = valid();
    let report = verify(&log).await;
    assert_eq!(report.findings, []);
    assert!(report.ok && report.warnings.is_empty());
    assert_eq!((report.events, report.jobs), (log.events.len() as u64, 6));
    assert_eq!(report.head_hash, log.head.unwrap().hash);

    let report = verify_lines(&log.export());
    assert_eq!(report.findings, []);
}

#[tokio::test]
async fn an_empty_log_passes() {
    assert_eq!(verify(&Memory::default()).await.findings, []);
    assert_eq!(verify_lines(b"").findings, []);
}

#[tokio::test]
async fn the_queue_and_the_keys_follow_from_the_log() {
    let log = valid();
    let derived = derive_queue(Arc::new(log.clone())).await.unwrap();
    let tasks: Vec<_> = derived.tasks.iter().map(|derived| (derived.task.clone(), derived.held)).collect();
    let stored: Vec<_> = log.tasks.values().map(|(task, lease)| (task.clone(), lease.is_some())).collect();
    assert_eq!(tasks, stored);
    assert_eq!(derived.keys.into_iter().collect::<std::collections::BTreeMap<_, _>>(), log.keys);
}

fn flip_text(text: &str, byte: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[byte] ^= 1;
    String::from_utf8(bytes).unwrap()
}

fn flip_uuid(uuid: &mut Uuid, byte: usize) {
    let mut bytes = *uuid.as_bytes();
    bytes[byte] ^= 1;
    *uuid = Uuid::from_bytes(bytes);
}

/// Every stored field, with the number of its bytes and a way to flip one.
type Field = (&'static str, fn(&Recorded) -> usize, fn(&mut Recorded, usize));

const FIELDS: [Field; 14] = [
    ("position", |_| 8, |event, byte| event.position = Position(event.position.0 ^ (1 << (8 * byte)))),
    (
        "stream",
        |_| 16,
        |event, byte| {
            let mut id = event.stream.to_uuid();
            flip_uuid(&mut id, byte);
            event.stream = StreamId::from_uuid(id);
        },
    ),
    ("version", |_| 8, |event, byte| event.version = Version(event.version.0 ^ (1 << (8 * byte)))),
    ("event_id", |_| 16, |event, byte| flip_uuid(&mut event.event_id, byte)),
    ("kind", |event| event.kind.len(), |event, byte| event.kind = flip_text(&event.kind, byte).into()),
    ("schema_version", |_| 2, |event, byte| event.schema_version ^= 1 << (8 * byte)),
    ("data", |event| event.data.len(), |event, byte| event.data[byte] ^= 1),
    (
        "actor",
        |event| event.meta.actor.len(),
        |event, byte| event.meta.actor = flip_text(&event.meta.actor, byte).into(),
    ),
    (
        "tenant",
        |event| event.meta.tenant.len(),
        |event, byte| event.meta.tenant = flip_text(&event.meta.tenant, byte).into(),
    ),
    ("correlation_id", |_| 16, |event, byte| flip_uuid(&mut event.meta.correlation_id, byte)),
    (
        "causation_id",
        |_| 16,
        |event, byte| {
            let mut id = event.meta.causation_id.unwrap();
            flip_uuid(&mut id, byte);
            event.meta.causation_id = Some(id);
        },
    ),
    (
        "traceparent",
        |_| 13,
        |event, byte| {
            let mut text = event.meta.traceparent.clone().unwrap();
            text = flip_text(&text, byte);
            event.meta.traceparent = Some(text);
        },
    ),
    (
        "recorded_at",
        |_| 5,
        |event, byte| {
            event.recorded_at = Timestamp::from_millis(event.recorded_at.as_millis() ^ (1 << (8 * byte)));
        },
    ),
    (
        "hash",
        |_| 32,
        |event, byte| {
            let mut digest = event.hash.0;
            digest[byte] ^= 1;
            event.hash = Sha256Digest(digest);
        },
    ),
];

#[tokio::test]
async fn every_flipped_byte_of_every_field_is_named() {
    let log = small();
    for index in 0..log.events.len() {
        for (field, bytes, flip) in FIELDS {
            for byte in 0..bytes(&log.events[index]) {
                let mut damaged = log.clone();
                flip(&mut damaged.events[index], byte);
                let position = damaged.events[index].position;
                let report = verify(&damaged).await;
                let named = report.findings.iter().any(|finding| match field {
                    // The event is elsewhere now; what shows is the place it left.
                    "position" => finding.rule == Rule::Position,
                    _ => finding.rule == Rule::Hash && finding.position == Some(position),
                });
                assert!(named, "byte {byte} of {field} of event {position}: {:#?}", report.findings);
            }
        }
    }
}

#[tokio::test]
async fn every_flipped_byte_of_an_export_is_named() {
    let export = small().export();
    let mut line = 1;
    for byte in 0..export.len() {
        // Another digit, and the same one in upper case.
        for bit in [0x01, 0x20] {
            let mut damaged = export.clone();
            damaged[byte] ^= bit;
            let report = verify_lines(&damaged);
            let named = report.findings.iter().any(|finding| finding.line == Some(line));
            assert!(named, "byte {byte} in line {line}: {:#?}", report.findings);
        }
        line += u64::from(export[byte] == b'\n');
    }
}

#[tokio::test]
async fn dropped_events_are_named() {
    let log = valid();
    for index in 0..log.events.len() - 1 {
        let mut damaged = log.clone();
        damaged.events.remove(index);
        let next = log.events[index + 1].position;
        assert_finds(&verify(&damaged).await, Rule::Position, |finding| finding.position == Some(next));
        // An export may start later; inside it nothing may be missing.
        if index > 0 {
            assert_finds(&verify_lines(&damaged.export()), Rule::Position, |finding| {
                finding.position == Some(next)
            });
        }
    }
}

#[tokio::test]
async fn duplicated_and_swapped_lines_are_named() {
    let log = valid();
    for index in 0..log.events.len() - 1 {
        let mut duplicated = log.clone();
        duplicated.events.insert(index, log.events[index].clone());
        let line = Some(index as u64 + 2);
        assert_finds(&verify_lines(&duplicated.export()), Rule::Position, |finding| finding.line == line);

        let mut swapped = log.clone();
        swapped.events.swap(index, index + 1);
        if index > 0 {
            let line = Some(index as u64 + 1);
            assert_finds(&verify_lines(&swapped.export()), Rule::Position, |finding| finding.line == line);
        }
        assert!(!verify_lines(&swapped.export()).ok);
    }
}

/// Two events change places, and take their positions along: only the chain can tell.
#[tokio::test]
async fn reordered_events_are_named() {
    let log = valid();
    for index in 0..log.events.len() - 1 {
        let mut damaged = log.clone();
        damaged.events.swap(index, index + 1);
        let position = damaged.events[index + 1].position;
        damaged.events[index].position = position;
        damaged.events[index + 1].position = position.next();
        assert_finds(&verify(&damaged).await, Rule::Hash, |finding| finding.position == Some(position));
    }
}

#[tokio::test]
async fn a_missing_tail_is_named() {
    let mut log = valid();
    let head_hash = Some(log.head.unwrap().hash);
    let last = log.events.pop().unwrap();
    assert_finds(&verify(&log).await, Rule::Head, |_| true);

    let cut = verify_export(&log.export()[..], ExportStart { head_hash, previous_hash: None }).unwrap();
    assert_finds(&cut, Rule::Head, |finding| finding.message.contains(&last.hash.to_string()));
    assert!(verify_lines(&log.export()).warnings.iter().any(|warning| warning.contains("--head-hash")));

    let mut export = valid().export();
    export.truncate(export.len() - 10);
    assert_finds(&verify_lines(&export), Rule::Line, |finding| finding.message.contains("cut off"));
}

#[test]
fn an_export_may_start_later() {
    let log = valid();
    for start in 1..log.events.len() {
        let mut tail = log.clone();
        tail.events.drain(..start);
        let report = verify_lines(&tail.export());
        assert_eq!(report.findings, [], "from {start}");
        assert!(report.warnings.iter().any(|warning| warning.contains("on trust")));

        let right = ExportStart {
            previous_hash: Some(log.events[start - 1].hash),
            head_hash: Some(report.head_hash),
        };
        let report = verify_export(&tail.export()[..], right).unwrap();
        assert_eq!((report.findings, report.warnings), (vec![], vec![]));

        let wrong = ExportStart { previous_hash: Some(Sha256Digest([1; 32])), head_hash: None };
        let position = tail.events[0].position;
        assert_finds(&verify_export(&tail.export()[..], wrong).unwrap(), Rule::Hash, |finding| {
            finding.position == Some(position)
        });
    }
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_named_and_passed() {
    let mut log = valid();
    log.corrupt = vec![3, 4];
    let last = log.events.len();
    log.events[last - 1].meta.actor = "mallory".into();
    let report = verify(&log).await;
    for position in [3, 4] {
        assert_finds(&report, Rule::Decode, |finding| finding.position == Some(Position(position)));
    }
    assert_finds(&report, Rule::Hash, |finding| finding.position == Some(Position(last as u64)));
}

#[tokio::test]
async fn a_log_that_cannot_be_read_at_all_ends_the_audit() {
    let mut log = valid();
    log.corrupt = (1..=log.events.len() as u64).collect();
    let report = verify(&log).await;
    assert_finds(&report, Rule::Store, |finding| finding.message.contains("after event 0"));
    assert_eq!(report.events, 0);
}

#[tokio::test]
async fn a_queue_that_differs_is_named() {
    let log = valid();
    let keys: Vec<_> = log.tasks.keys().copied().collect();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let of_job = |finding: &Finding| finding.job == Some(key.job);
        let mut damaged = log.clone();
        damaged.tasks.remove(&key);
        assert_finds(&verify(&damaged).await, Rule::Queue, of_job);

        let mut damaged = log.clone();
        let lease = &mut damaged.tasks.get_mut(&key).unwrap().1;
        *lease = if lease.is_some() { None } else { Some(LeaseToken(1)) };
        assert_finds(&verify(&damaged).await, Rule::Queue, of_job);

        let mut damaged = log.clone();
        damaged.tasks.get_mut(&key).unwrap().0.run_at = Timestamp::from_millis(1);
        assert_finds(&verify(&damaged).await, Rule::Queue, of_job);
    }
    let mut damaged = log.clone();
    let (mut task, lease) = damaged.tasks.values().next().unwrap().clone();
    task.key.job = job(1);
    damaged.tasks.insert(task.key, (task, lease));
    assert_finds(&verify(&damaged).await, Rule::Queue, |finding| finding.job == Some(job(1)));
}

#[tokio::test]
async fn keys_that_differ_are_named() {
    let log = valid();
    let mut damaged = log.clone();
    damaged.keys.pop_first();
    assert_finds(&verify(&damaged).await, Rule::Keys, |_| true);

    let mut damaged = log.clone();
    damaged.keys.first_entry().unwrap().get_mut().job = job(6);
    assert_finds(&verify(&damaged).await, Rule::Keys, |finding| finding.job == Some(job(6)));
}

#[tokio::test]
async fn blobs_that_differ_are_named() {
    let log = valid();
    let digest = *log.blobs.keys().next().unwrap();
    let mut damaged = log.clone();
    damaged.blobs.clear();
    assert_finds(&verify(&damaged).await, Rule::Blob, |finding| finding.message.contains("missing"));

    let mut damaged = log.clone();
    damaged.blobs.get_mut(&digest).unwrap()[5] ^= 1;
    assert_finds(&verify(&damaged).await, Rule::Blob, |finding| {
        finding.message.contains(&digest.to_string())
    });

    let mut more = log.clone();
    more.blobs.insert(Sha256Digest([9; 32]), vec![]);
    let report = verify(&more).await;
    assert!(report.ok && report.warnings.len() == 1, "{report:?}");
}

#[tokio::test]
async fn findings_are_bounded() {
    let mut log = valid();
    while log.events.len() < 400 {
        let event = log.events[0].clone();
        log.events.push(event);
    }
    for (index, event) in log.events.iter_mut().enumerate() {
        event.position = Position(index as u64 + 1);
    }
    let report = verify(&log).await;
    assert_eq!(report.findings.len(), 100);
    assert!(report.unlisted > 100);
}
