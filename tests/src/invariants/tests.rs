//! A log that is right has no findings, and each way to be wrong has its own.

use quillwork_domain::chain;
use quillwork_domain::envelope::Meta;
use quillwork_domain::id::{Position, StreamId, Version};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

/// One job with a plan of the stages `one` and `two`; times in milliseconds.
const JOB: JobId = JobId(Uuid::from_u128(7));

/// An event of [`JOB`], as a kind, its data and its time.
type Told = (&'static str, Value, i64);

fn submitted() -> Told {
    ("JobSubmitted", json!({"plan": [{"name": "one"}, {"name": "two"}], "idempotency_key": "k"}), 0)
}

fn of_stage(kind: &'static str, stage: &str, attempt: u64) -> Told {
    (kind, json!({"stage": stage, "attempt": attempt}), 0)
}

fn started(stage: &str, attempt: u64) -> Told {
    of_stage("StageStarted", stage, attempt)
}

fn completed(stage: &str, attempt: u64) -> Told {
    of_stage("StageCompleted", stage, attempt)
}

fn failed(stage: &str, attempt: u64, retry_at: Option<i64>) -> Told {
    let mut told = of_stage("StageFailed", stage, attempt);
    if let Some(retry_at) = retry_at {
        told.1["retry_at"] = json!(Timestamp::from_millis(retry_at));
    }
    told
}

fn bare(kind: &'static str) -> Told {
    (kind, json!({}), 0)
}

fn at(millis: i64, told: Told) -> Told {
    (told.0, told.1, millis)
}

/// A job that went well.
fn good() -> Vec<Told> {
    vec![
        submitted(),
        started("one", 1),
        completed("one", 1),
        started("two", 1),
        failed("two", 1, Some(0)),
        started("two", 2),
        completed("two", 2),
        bare("JobCompleted"),
    ]
}

/// A log of these events, right as a sequence.
fn log(told: Vec<Told>) -> Vec<Recorded> {
    let mut previous = chain::GENESIS;
    let numbered = told.into_iter().zip(1..);
    numbered
        .map(|((kind, data, millis), n)| {
            let mut event = Recorded {
                position: Position(n),
                stream: JOB.into(),
                version: Version(n),
                event_id: Uuid::from_u128(n.into()),
                kind: kind.into(),
                schema_version: 1,
                data: data.to_string().into_bytes(),
                meta: Meta {
                    actor: "test".into(),
                    tenant: "default".into(),
                    correlation_id: Uuid::nil(),
                    causation_id: None,
                    traceparent: None,
                },
                recorded_at: Timestamp::from_millis(millis),
                hash: chain::GENESIS,
            };
            event.hash = chain::link(&previous, &event);
            previous = event.hash;
            event
        })
        .collect()
}

/// The hashes of a changed log, so that only the change is wrong.
fn rehashed(mut log: Vec<Recorded>) -> Vec<Recorded> {
    let mut previous = chain::GENESIS;
    for event in &mut log {
        event.hash = chain::link(&previous, event);
        previous = event.hash;
    }
    log
}

fn evidence() -> Evidence {
    let stats = json!({
        "jobs": {"submitted": 1, "scheduled": 0, "queued": 0, "running": 0, "retrying": 0, "completed": 1, "failed": 0, "cancelled": 0, "paused": 0},
        "position": 8,
        "stages": {
            "one": {"started": 1, "completed": 1, "failed": 0, "retried": 0},
            "two": {"started": 2, "completed": 1, "failed": 1, "retried": 1},
        },
    });
    Evidence {
        acknowledged: vec![Acknowledged { key: "k".into(), job: JOB }],
        log: log(good()),
        between: (Timestamp::from_millis(0), Timestamp::from_millis(0)),
        queue: vec![],
        rows: vec![Row { job: JOB, status: "completed".into(), version: 8, done: 2 }],
        stats: flat(&stats),
    }
}

/// Changes what is right; the findings must say this, and nothing that does not.
#[track_caller]
fn check_found(change: impl FnOnce(&mut Evidence), expected: &str) {
    let mut evidence = evidence();
    change(&mut evidence);
    let findings = check(&evidence);
    assert!(!findings.is_empty(), "nothing was found, expected {expected:?}");
    assert!(
        findings.iter().all(|finding| finding.contains(expected)),
        "expected {expected:?}: {findings:#?}"
    );
}

/// The same for a history: what follows from it is not looked at.
#[track_caller]
fn check_told(told: Vec<Told>, expected: &[&str]) {
    let findings = check_log(&log(told), (Timestamp::default(), Timestamp::MAX));
    let found = findings.len() == expected.len()
        && findings.iter().zip(expected).all(|(finding, expected)| finding.contains(expected));
    assert!(found, "expected {expected:#?}, got {findings:#?}");
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(check(&evidence()), Vec::<String>::new());
}

#[test]
fn an_acknowledged_job_that_is_lost() {
    check_found(
        |e| e.acknowledged.push(Acknowledged { key: "l".into(), job: JobId(Uuid::nil()) }),
        "not in the log",
    );
}

#[test]
fn an_acknowledged_job_under_another_key() {
    check_found(|e| e.acknowledged[0].key = "other".into(), "acknowledged for key other");
}

#[test]
fn one_key_acknowledged_as_two_jobs() {
    let mut evidence = evidence();
    let mut other = log(good());
    other.iter_mut().for_each(|event| event.stream = StreamId::Job(JobId(Uuid::from_u128(8))));
    for (event, n) in other.iter_mut().zip(9..) {
        (event.position, event.event_id) = (Position(n), Uuid::from_u128(n.into()));
    }
    evidence.log.extend(other);
    evidence.log = rehashed(evidence.log);
    evidence.acknowledged.push(Acknowledged { key: "k".into(), job: JobId(Uuid::from_u128(8)) });
    let findings = check(&evidence);
    for expected in ["key k was acknowledged as job", "key k made two jobs"] {
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected}: {findings:#?}");
    }
}

#[test]
fn a_job_that_has_not_ended() {
    let mut evidence = evidence();
    evidence.log.truncate(4);
    assert!(check(&evidence).iter().any(|finding| finding.contains("has not ended: it is running")));
}

#[test]
fn a_task_that_is_left() {
    check_found(|e| e.queue.push("stage one of a job".into()), "the queue still has stage one");
}

#[test]
fn a_gap_in_the_positions() {
    check_found(
        |e| {
            e.log.iter_mut().skip(3).for_each(|event| event.position = event.position.next());
            e.log = rehashed(std::mem::take(&mut e.log));
        },
        "stands where",
    );
}

#[test]
fn a_gap_in_the_versions() {
    check_found(
        |e| {
            e.log[7].version = Version(9);
            e.log = rehashed(std::mem::take(&mut e.log));
            e.rows[0].version = 9;
        },
        "has version 9",
    );
}

#[test]
fn an_event_twice() {
    check_found(
        |e| {
            e.log[3].event_id = e.log[2].event_id;
            e.log = rehashed(std::mem::take(&mut e.log));
        },
        "the id of an earlier event",
    );
}

#[test]
fn changed_bytes() {
    check_found(|e| e.log[2].meta.actor = "somebody else".into(), "the hash chain is broken at event 3");
}

#[test]
fn time_that_goes_back() {
    check_told(
        vec![at(3_600_000, submitted()), at(3_597_000, started("one", 1)), at(1, completed("one", 1))],
        &["time goes back"],
    );
}

#[test]
fn time_of_another_clock() {
    check_found(|e| e.between.0 = Timestamp::from_millis(10_000), "but the run was from");
}

#[test]
fn two_results_of_a_stage() {
    check_told(
        vec![submitted(), started("one", 1), completed("one", 1), completed("one", 1)],
        &["\"one\" has its result already"],
    );
}

#[test]
fn a_result_of_a_lost_attempt() {
    let told = vec![submitted(), started("one", 1), failed("one", 1, Some(0)), started("one", 2)];
    check_told([told.clone(), vec![completed("one", 1)]].concat(), &["attempt 2 was started last"]);
    check_told([told.clone(), vec![failed("one", 1, Some(0))]].concat(), &["attempt 2 was started last"]);
    check_told([told, vec![of_stage("StepRecorded", "one", 1)]].concat(), &["attempt 2 was started last"]);
}

#[test]
fn a_result_of_an_attempt_that_has_ended() {
    let told = vec![submitted(), started("one", 1), failed("one", 1, Some(0)), completed("one", 1)];
    check_told(told, &["attempt 1 does not run"]);
}

#[test]
fn a_result_of_a_stage_whose_turn_it_is_not() {
    check_told(vec![submitted(), started("two", 1)], &["the stage is \"two\""]);
    check_told(vec![submitted(), started("one", 1), completed("two", 1)], &["the stage is \"two\""]);
}

#[test]
fn two_attempts_at_once() {
    check_told(vec![submitted(), started("one", 1), started("one", 2)], &["attempt 1 of it still runs"]);
}

#[test]
fn an_attempt_left_out_or_counted_twice() {
    let told = vec![submitted(), started("one", 1), failed("one", 1, Some(0))];
    check_told([told.clone(), vec![started("one", 3)]].concat(), &["attempt 3 follows attempt 1"]);
    check_told([told, vec![started("one", 1)]].concat(), &["attempt 1 follows attempt 1"]);
}

#[test]
fn a_start_before_its_time() {
    let told = vec![submitted(), started("one", 1), failed("one", 1, Some(500)), at(499, started("one", 2))];
    check_told(told, &["it was due at"]);
}

#[test]
fn anything_after_the_end_but_a_retry() {
    for late in [started("two", 3), completed("two", 2), bare("JobCancelled"), bare("JobCompleted")] {
        let findings = check_log(&log([good(), vec![late]].concat()), (Timestamp::default(), Timestamp::MAX));
        assert!(findings[0].contains("the job has ended: it is completed"), "{findings:#?}");
    }
    let cancelled = vec![submitted(), started("one", 1), bare("JobCancelled")];
    check_told([cancelled.clone(), vec![bare("JobRetried"), started("one", 2)]].concat(), &[]);
    let late = vec![bare("JobRetried"), completed("one", 1)];
    check_told([cancelled, late].concat(), &["attempt 1 does not run"]);
}

#[test]
fn a_retry_of_what_has_not_failed() {
    check_told(vec![submitted(), bare("JobRetried")], &["the job is queued"]);
}

#[test]
fn an_end_without_a_reason() {
    check_told(vec![submitted(), bare("JobCompleted")], &["the last stage has no result"]);
    check_told(vec![submitted(), bare("JobFailed")], &["no stage failed for good"]);
}

#[test]
fn a_commit_of_which_only_half_was_written() {
    let mut told = good();
    told.pop();
    check_told(told, &["lacks the JobCompleted"]);
    check_told(
        vec![submitted(), started("one", 1), failed("one", 1, None), started("one", 2)],
        &["JobFailed must come first"],
    );
}

#[test]
fn a_job_that_begins_twice_or_not_at_all() {
    check_told(vec![submitted(), submitted()], &["the job exists already"]);
    check_told(vec![started("one", 1)], &["the job does not exist"]);
}

#[test]
fn an_event_that_nobody_knows() {
    check_told(vec![submitted(), bare("JobPainted")], &["JobPainted is no event of a job"]);
}

#[test]
fn a_row_that_is_not_what_the_log_says() {
    check_found(|e| e.rows[0].status = "running".into(), "the log says Row");
    check_found(|e| e.rows[0].version = 7, "the log says Row");
    check_found(|e| e.rows[0].done = 1, "the log says Row");
}

#[test]
fn a_row_too_few_or_too_many() {
    check_found(|e| e.rows.clear(), "lacks job");
    check_found(|e| e.rows.push(e.rows[0].clone()), "twice");
    check_found(
        |e| e.rows.push(Row { job: JobId(Uuid::from_u128(9)), ..e.rows[0].clone() }),
        "which is not in the log",
    );
}

#[test]
fn a_counter_that_does_not_count() {
    for counter in ["jobs.submitted", "jobs.completed", "jobs.failed", "stages.two.retried", "position"] {
        check_found(
            |e| {
                *e.stats.get_mut(counter).unwrap() += 1;
            },
            &format!("the counter {counter} is"),
        );
    }
    check_found(
        |e| {
            e.stats.remove("stages.one.started");
        },
        "is nothing",
    );
}

/// A plan of `one`, and `two` beside `three`.
fn group() -> Told {
    let plan = json!([
        {"name": "one", "handler": "write"},
        {"name": "two"},
        {"name": "three", "beside_previous": true},
    ]);
    ("JobSubmitted", json!({"plan": plan, "idempotency_key": "k"}), 0)
}

fn sent_back(stage: &str, attempt: u64, to: &str) -> Told {
    let mut told = completed(stage, attempt);
    told.1["rework"] = json!({"to": to, "reason": "thin"});
    told
}

fn reopened(stage: &str, round: u64) -> Told {
    ("StagesReopened", json!({"stage": stage, "round": round, "reason": "thin"}), 0)
}

#[test]
fn a_group_runs_in_any_order_and_goes_back_together() {
    let told = vec![
        group(),
        started("one", 1),
        completed("one", 1),
        started("three", 1),
        started("two", 1),
        failed("three", 1, Some(0)),
        sent_back("two", 1, "write"),
        started("three", 2),
        completed("three", 2),
        reopened("one", 2),
        started("one", 2),
        completed("one", 2),
        started("two", 2),
        completed("two", 2),
        started("three", 3),
        completed("three", 3),
        bare("JobCompleted"),
    ];
    check_told(told, &[]);
}

#[test]
fn a_group_that_does_what_it_must_not() {
    let begun = || vec![group(), started("one", 1), completed("one", 1), started("two", 1)];
    let with = |more: Vec<Told>| [begun(), more].concat();
    let table = [
        (with(vec![completed("two", 1), bare("JobCompleted")]), "no result right before"),
        (with(vec![started("three", 2)]), "attempt 2 follows attempt 0"),
        (with(vec![reopened("one", 2)]), "no stage sent the job back"),
        (with(vec![completed("three", 1)]), "attempt 0 was started last"),
    ];
    for (told, expected) in table {
        let findings = check_log(&log(told), (Timestamp::default(), Timestamp::MAX));
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected:?}: {findings:#?}");
    }
    let both = with(vec![started("three", 1), completed("three", 1), sent_back("two", 1, "one")]);
    check_told([both.clone(), vec![reopened("one", 3)]].concat(), &["round 3 follows round 1"]);
    check_told(both, &["lacks the StagesReopened"]);
}
