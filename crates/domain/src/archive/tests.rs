use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::envelope::Meta;
use crate::id::Attempt;
use crate::job::{
    ErrorClass, JobCancelled, JobCompleted, JobRetried, JobSubmitted, StageCompleted, StageFailed,
    StageStarted,
};
use crate::payload::Payload;
use crate::plan::{Backoff, Plan, PlannedStage};

fn id(n: u128) -> JobId {
    JobId(Uuid::from_u128(n))
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn hash(position: u64) -> Sha256Digest {
    Sha256Digest::of(&position.to_be_bytes())
}

fn submitted() -> Event {
    let stage = PlannedStage {
        name: "echo".into(),
        handler: "echo".into(),
        max_attempts: 3,
        timeout_ms: 1,
        backoff: Backoff { initial_ms: 1, factor: 2, max_ms: 10 },
        max_rate_limited: 1,
        max_lost: 1,
        beside_previous: false,
    };
    Event::JobSubmitted(Arc::new(JobSubmitted::new(
        "Topic".into(),
        "echo".into(),
        Plan::new(vec![stage]).unwrap(),
    )))
}

fn started(attempt: u32) -> Event {
    Event::StageStarted(StageStarted { stage: "echo".into(), attempt: Attempt(attempt), worker: "w".into() })
}

/// Two attempts, the second good.
fn completed() -> Vec<Event> {
    let output = Payload::inline(serde_json::value::RawValue::from_string("{}".into()).unwrap()).unwrap();
    vec![
        submitted(),
        started(1),
        Event::StageFailed(StageFailed {
            stage: "echo".into(),
            attempt: Attempt(1),
            error: "no".into(),
            class: ErrorClass::Transient,
            retry_at: Some(at(3)),
            is_final: false,
        }),
        started(2),
        Event::StageCompleted(StageCompleted {
            stage: "echo".into(),
            attempt: Attempt(2),
            output,
            usage: None,
            rework: None,
        }),
        Event::JobCompleted(JobCompleted {}),
    ]
}

fn cancelled() -> Vec<Event> {
    vec![submitted(), Event::JobCancelled(JobCancelled { reason: None })]
}

/// The events at these positions; event n happens at n milliseconds.
fn recorded(job: JobId, events: &[Event], positions: impl IntoIterator<Item = u64>) -> Vec<Recorded> {
    let record = |(index, (event, position)): (usize, (&Event, u64))| {
        let encoded = wire::encode(event).unwrap();
        Recorded {
            position: Position(position),
            stream: job.into(),
            version: Version(index as u64 + 1),
            event_id: Uuid::nil(),
            kind: encoded.kind.into(),
            schema_version: encoded.schema_version,
            data: encoded.data,
            meta: Meta {
                actor: "a".into(),
                tenant: "t".into(),
                correlation_id: Uuid::nil(),
                causation_id: None,
                traceparent: None,
            },
            recorded_at: at(i64::try_from(position).unwrap()),
            hash: hash(position),
        }
    };
    events.iter().zip(positions).enumerate().map(record).collect()
}

fn all() -> BTreeMap<Position, Sha256Digest> {
    (1..100).map(|position| (Position(position), hash(position))).collect()
}

fn candidate(job: JobId, events: &[Recorded]) -> Candidate<'_> {
    Candidate { job, version: Version(events.len() as u64), events }
}

fn run(first: u64, last: u64) -> Run {
    let before = if first == 1 { GENESIS } else { hash(first - 1) };
    Run { first: Position(first), last: Position(last), before, hash: hash(last) }
}

#[test]
fn ended_jobs_leave_with_their_counters_and_runs() {
    let one = recorded(id(1), &completed(), [1, 2, 4, 5, 6, 9]);
    let two = recorded(id(2), &cancelled(), [3, 10]);
    let archived = archive(&[candidate(id(1), &one), candidate(id(2), &two)], &all(), at(11), None).unwrap();
    let tally = StageTally { started: 2, completed: 1, failed: 1, retried: 1 };
    assert_eq!(
        archived,
        JobsArchived {
            through: at(11),
            jobs: vec![
                ArchivedJob {
                    id: id(1),
                    status: Status::Completed,
                    stages: BTreeMap::from([("echo".into(), tally)]),
                    usage: vec![],
                },
                ArchivedJob { id: id(2), status: Status::Cancelled, stages: BTreeMap::new(), usage: vec![] },
            ],
            runs: vec![run(1, 6), run(9, 10)],
            file: None,
        }
    );
}

#[test]
fn one_job_that_must_stay_keeps_all() {
    let done = recorded(id(1), &completed(), 1..);
    let cut = recorded(id(2), &completed()[..5], 11..);
    let retried = [cancelled(), vec![Event::JobRetried(JobRetried { stage: "echo".into() })]].concat();
    let retried = recorded(id(3), &retried, 21..);
    let young = recorded(id(4), &cancelled(), 98..);
    let grown = recorded(id(5), &cancelled(), 31..);
    let mut strange = recorded(id(7), &cancelled(), 41..);
    strange[1].kind = "JobDreamed".into();
    let candidates = [
        candidate(id(1), &done),
        candidate(id(2), &cut),
        candidate(id(3), &retried),
        candidate(id(4), &young),
        Candidate { version: Version(1), ..candidate(id(5), &grown) },
        candidate(id(6), &[]),
        candidate(id(7), &strange),
    ];
    let kept = archive(&candidates, &all(), at(99), None).unwrap_err();
    assert_eq!(
        kept,
        [
            (id(2), Kept::Open),
            (id(3), Kept::Open),
            (id(4), Kept::TooYoung),
            (id(5), Kept::Changed),
            (id(6), Kept::Absent),
            (id(7), Kept::Undecodable),
        ]
    );
    assert!(archive(&candidates[..1], &all(), at(7), None).is_ok());
}

#[test]
fn a_run_needs_the_hash_before_it() {
    let two = recorded(id(2), &cancelled(), [3, 10]);
    let candidates = [candidate(id(2), &two)];
    assert_eq!(edges(two.iter().map(|event| event.position)), [Position(2), Position(9)]);
    let some = BTreeMap::from([(Position(2), hash(2))]);
    assert_eq!(archive(&candidates, &some, at(11), None), Err(vec![(id(2), Kept::Unlinked)]));
}

#[test]
fn a_hole_is_covered_by_neighbouring_runs_only() {
    let runs = [run(2, 3), run(4, 4), run(6, 9)];
    let covers = |first, last| cover(&runs, Position(first), Position(last));
    assert!(covers(2, 4) && covers(3, 4));
    assert!(cover(&runs[2..], Position(7), Position(8)), "a part of a run");
    assert!(!covers(1, 4) && !covers(2, 5) && !covers(2, 9) && !covers(5, 9));
    assert!(!cover(&[], Position(1), Position(1)));
    assert!(!cover(&runs[2..], Position(7), Position(10)));
}
