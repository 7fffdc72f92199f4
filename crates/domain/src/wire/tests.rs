//! Golden files freeze the stored shapes: one per kind and schema version, never edited.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::*;
use crate::archive::{ArchiveFile, ArchivedJob, JobsArchived, Run, StageTally};
use crate::content::{ContentRated, ContentViewed, Rater};
use crate::id::{Attempt, JobId, Position};
use crate::job::{
    Budget, BudgetSet, ErrorClass, JobCancelled, JobCompleted, JobError, JobFailed, JobPaused, JobResumed,
    JobRetried, JobSubmitted, PauseReason, Rework, Spent, StageCompleted, StageFailed, StageStarted,
    StagesReopened, Status, StepRecorded, Usage,
};
use crate::payload::{BlobRef, Payload, Sha256Digest};
use crate::plan::{Backoff, Plan, PlannedStage};
use crate::queue::{QueueLimited, QueuePaused, QueueResumed};
use crate::time::Timestamp;
use crate::usage::{Paid, UsageTally};

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.into()).unwrap()
}

/// An event of each kind, in the order of [`KINDS`], with every member set.
pub(crate) fn one_of_each() -> [Event; 19] {
    let stage = PlannedStage {
        name: "research".into(),
        handler: "research".into(),
        max_attempts: 3,
        timeout_ms: 300_000,
        backoff: Backoff { initial_ms: 1_000, factor: 2, max_ms: 60_000 },
        max_rate_limited: 100,
        max_lost: 20,
        beside_previous: false,
    };
    let error = JobError {
        class: ErrorClass::NoSourcesFound,
        message: "no source".into(),
        stage: "research".into(),
        attempt: Attempt(1),
    };
    [
        Event::JobSubmitted(Arc::new(JobSubmitted {
            topic: "durable jobs".into(),
            pipeline: "article".into(),
            plan: Plan::new(vec![stage]).unwrap(),
            settings: Some(raw(r#"{"research":{"max_sources":4}}"#).into()),
            priority: 5,
            run_at: Some(Timestamp::from_millis(1_700_000_000_123)),
            labels: BTreeMap::from([("team".into(), "docs".into())]),
            idempotency_key: Some("key-1".into()),
            request_digest: Some(Sha256Digest::of(b"body")),
            budget: None,
        })),
        Event::StageStarted(StageStarted {
            stage: "research".into(),
            attempt: Attempt(1),
            worker: "host-1".into(),
        }),
        Event::StepRecorded(StepRecorded {
            stage: "research".into(),
            attempt: Attempt(1),
            step_key: "search".into(),
            output: Payload::inline(raw(r#"{"hits":2}"#)).unwrap(),
            spent: None,
        }),
        Event::StageCompleted(StageCompleted {
            stage: "research".into(),
            attempt: Attempt(1),
            output: Payload::Blob(BlobRef { sha256: Sha256Digest::of(b"output"), bytes: 20_000 }),
            usage: Some(Usage { input_tokens: 12, output_tokens: 34 }),
            rework: None,
        }),
        Event::StageFailed(StageFailed {
            stage: "research".into(),
            attempt: Attempt(1),
            error: "connection refused".into(),
            class: ErrorClass::Transient,
            retry_at: Some(Timestamp::from_millis(1_700_000_001_000)),
            is_final: false,
        }),
        Event::JobCompleted(JobCompleted {}),
        Event::JobFailed(JobFailed { error }),
        Event::JobCancelled(JobCancelled { reason: Some("superseded".into()) }),
        Event::JobRetried(JobRetried { stage: "research".into() }),
        Event::Queue(QueueEvent::Paused(QueuePaused {
            handler: "research".into(),
            reason: Some("the provider is down".into()),
        })),
        Event::Queue(QueueEvent::Resumed(QueueResumed { handler: "research".into() })),
        Event::Queue(QueueEvent::Limited(QueueLimited { handler: "research".into(), max_running: Some(20) })),
        Event::Archive(JobsArchived {
            through: Timestamp::from_millis(1_700_000_000_000),
            jobs: vec![ArchivedJob {
                id: JobId(Uuid::from_u128(7)),
                status: Status::Completed,
                stages: BTreeMap::from([(
                    "research".into(),
                    StageTally { started: 2, completed: 1, failed: 1, retried: 1 },
                )]),
                usage: vec![],
            }],
            runs: vec![Run {
                first: Position(3),
                last: Position(8),
                before: Sha256Digest::of(b"event 2"),
                hash: Sha256Digest::of(b"event 8"),
            }],
            file: Some(ArchiveFile {
                name: "archive.ndjson.zst".into(),
                sha256: Sha256Digest::of(b"file"),
                bytes: 1_234,
                events: 6,
            }),
        }),
        Event::StagesReopened(StagesReopened {
            stage: "research".into(),
            round: 2,
            reason: "quality: two sentences have no source".into(),
        }),
        Event::Content(ContentEvent::Viewed(ContentViewed { count: 57 })),
        Event::Content(ContentEvent::Rated(ContentRated {
            stars: 4.try_into().unwrap(),
            rater: Some(Rater::of(JobId(Uuid::from_u128(7)), "ann")),
            idempotency_key: Some("rating-1".into()),
            request_digest: Some(Sha256Digest::of(b"body")),
        })),
        Event::JobPaused(JobPaused {
            reason: PauseReason::TenantBudget,
            until: Some(Timestamp::from_millis(1_700_006_400_000)),
        }),
        Event::JobResumed(JobResumed {}),
        Event::BudgetSet(BudgetSet { max_cost_micros: 1_500_000 }),
    ]
}

fn golden(kind: &str, schema_version: u16) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/{kind}.v{schema_version}.json"))
}

#[test]
fn events_are_written_as_in_the_golden_files() {
    for event in one_of_each() {
        let encoded = encode(&event).unwrap();
        let path = golden(encoded.kind, encoded.schema_version);
        let frozen =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(String::from_utf8(encoded.data).unwrap(), frozen.trim_end(), "{}", path.display());
    }
}

#[test]
fn every_golden_file_is_read_as_the_event_it_was() {
    for (event, name) in one_of_each().into_iter().zip(KINDS) {
        let frozen = std::fs::read_to_string(golden(name, 1)).unwrap();
        assert_eq!(decode_parts(name, 1, frozen.trim_end().as_bytes()).unwrap(), event);
        assert_eq!(kind(&event), name);
    }
}

#[test]
fn members_that_a_later_version_adds_are_ignored_and_unknown_kinds_are_named() {
    let newer = br#"{"stage":"research","colour":"green"}"#;
    assert!(decode_parts("JobRetried", 1, newer).is_ok());
    let error = decode_parts("JobPainted", 1, b"{}").unwrap_err();
    assert!(error.to_string().contains("JobPainted"), "{error}");
    assert!(decode_parts("JobRetried", 2, newer).is_err());
}

/// Whatever a configuration defaults to by now.
#[test]
fn the_standard_policy_is_left_out_and_found_again() {
    let Event::JobSubmitted(submitted) = &one_of_each()[0] else { unreachable!() };
    let mut stages = submitted.plan.stages().to_vec();
    stages[0].max_rate_limited = 10_000;
    stages.push(PlannedStage { name: "judge".into(), max_attempts: 1, ..stages[0].clone() });
    stages.push(PlannedStage { name: "quality".into(), beside_previous: true, ..stages[0].clone() });
    let plan = Plan::new(stages).unwrap();
    let event = Event::JobSubmitted(Arc::new(JobSubmitted { plan, ..submitted.as_ref().clone() }));
    let encoded = encode(&event).unwrap();
    let frozen = std::fs::read_to_string(golden("JobSubmitted.standard", 2)).unwrap();
    assert_eq!(String::from_utf8(encoded.data).unwrap(), frozen.trim_end());
    assert_eq!(encoded.schema_version, 2);
    assert_eq!(decode_parts("JobSubmitted", 2, frozen.trim_end().as_bytes()).unwrap(), event);
}

#[test]
fn half_a_policy_is_none() {
    let frozen = std::fs::read_to_string(golden("JobSubmitted", 2)).unwrap();
    let half = frozen.replace(r#""timeout_ms":300000,"#, "");
    let error = decode_parts("JobSubmitted", 2, half.as_bytes()).unwrap_err();
    let DecodeError::Malformed { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("timeout_ms"), "{source}");
}

#[test]
fn a_plan_from_before_a_limit_existed_gets_its_default() {
    let frozen = std::fs::read_to_string(golden("JobSubmitted", 1)).unwrap();
    let older = frozen.replace(r#","max_rate_limited":100,"max_lost":20"#, "");
    assert_ne!(older, frozen);
    let Event::JobSubmitted(job) = decode_parts("JobSubmitted", 1, older.as_bytes()).unwrap() else {
        unreachable!()
    };
    let stage = &job.plan.stages()[0];
    assert_eq!((stage.max_rate_limited, stage.max_lost), (100, 20));
}

/// The golden files are from before these members.
#[test]
fn members_that_were_added_later_are_written_only_if_they_say_something() {
    let member = r#","rework":{"to":"generation","reason":"too short"}"#;
    let frozen = std::fs::read_to_string(golden("StageCompleted", 1)).unwrap();
    let newer = frozen.trim_end().strip_suffix('}').unwrap().to_owned() + member + "}";
    let Event::StageCompleted(mut completed) =
        decode_parts("StageCompleted", 1, frozen.trim_end().as_bytes()).unwrap()
    else {
        unreachable!()
    };
    completed.rework = Some(Rework { to: "generation".into(), reason: "too short".into() });
    let event = Event::StageCompleted(completed);
    assert_eq!(String::from_utf8(encode(&event).unwrap().data).unwrap(), newer);
    assert_eq!(decode_parts("StageCompleted", 1, newer.as_bytes()).unwrap(), event);

    let frozen = std::fs::read_to_string(golden("JobSubmitted", 1)).unwrap();
    let newer = frozen.replace(r#""max_lost":20}"#, r#""max_lost":20,"beside_previous":true}"#);
    assert_ne!(newer, frozen);
    let event = decode_parts("JobSubmitted", 1, newer.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(encode(&event).unwrap().data).unwrap(), newer.trim_end());
}

/// Events with the members that came later, each with a golden file of its own.
fn with_later_members() -> [(&'static str, Event); 4] {
    let [submitted, _, step, _, failed, .., archived, _, _, _, _, _, _] = one_of_each();
    let (Event::JobSubmitted(submitted), Event::StepRecorded(step), Event::StageFailed(failed)) =
        (submitted, step, failed)
    else {
        unreachable!()
    };
    let Event::Archive(mut archived) = archived else { unreachable!() };
    let spent = Spent {
        provider: "main".into(),
        model: "writer-1".into(),
        input_tokens: 1_200,
        output_tokens: 800,
        cost_micros: 15_600,
        prices: Some("2026-11-01".into()),
    };
    archived.jobs[0].usage = vec![UsageTally {
        tenant: "acme".into(),
        day: Timestamp::from_millis(1_700_000_000_000).day(),
        provider: "main".into(),
        model: "writer-1".into(),
        paid: Paid { calls: 2, input_tokens: 2_400, output_tokens: 1_600, cost_micros: 31_200 },
    }];
    [
        (
            "JobSubmitted.budget",
            Event::JobSubmitted(Arc::new(JobSubmitted {
                budget: Some(Budget { max_cost_micros: 500_000 }),
                ..submitted.as_ref().clone()
            })),
        ),
        ("StepRecorded.spent", Event::StepRecorded(StepRecorded { spent: Some(spent), ..step })),
        (
            "StageFailed.parked",
            Event::StageFailed(StageFailed {
                error: "the job has spent 0.51 of its budget of 0.50 USD".into(),
                class: ErrorClass::BudgetExhausted,
                retry_at: None,
                ..failed
            }),
        ),
        ("JobsArchived.usage", Event::Archive(archived)),
    ]
}

#[test]
fn members_about_money_are_as_in_their_golden_files() {
    for (name, event) in with_later_members() {
        let frozen = std::fs::read_to_string(golden(name, 1)).unwrap();
        let encoded = encode(&event).unwrap();
        assert_eq!(String::from_utf8(encoded.data).unwrap(), frozen.trim_end(), "{name}");
        assert_eq!(decode_parts(encoded.kind, 1, frozen.trim_end().as_bytes()).unwrap(), event);
    }
}
