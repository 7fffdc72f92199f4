//! A history that no job may have is named, also where every hash is right.

use quillwork_domain::id::{Attempt, JobId};
use quillwork_domain::job::{
    Command, ErrorClass, Event, JobCancelled, JobCompleted, JobError, JobFailed, JobRetried, JobSubmitted,
    Rework, StageCompleted, StageFailed, StageStarted, StagesReopened, StepRecorded,
};
use quillwork_domain::plan::{Plan, PlannedStage};
use quillwork_domain::time::Timestamp;

use super::memory::{Memory, complete, fail, job, payload, start_of, submission};
use crate::audit::{Rule, Scope, verify_store};

const JOB: u128 = 1;

fn started(stage: &str, attempt: u32) -> Event {
    Event::StageStarted(StageStarted { stage: stage.into(), attempt: Attempt(attempt), worker: "w".into() })
}

fn completed(stage: &str, attempt: u32) -> Event {
    let (stage, attempt) = (stage.into(), Attempt(attempt));
    Event::StageCompleted(StageCompleted { stage, attempt, output: payload("1"), usage: None, rework: None })
}

fn step(key: &str) -> Event {
    let (stage, attempt) = ("echo-1".into(), Attempt(1));
    Event::StepRecorded(StepRecorded {
        stage,
        attempt,
        step_key: key.into(),
        output: payload("1"),
        spent: None,
    })
}

fn failed(class: ErrorClass, retry_at: Option<i64>, is_final: bool) -> Event {
    Event::StageFailed(StageFailed {
        stage: "echo-1".into(),
        attempt: Attempt(1),
        error: "no".into(),
        class,
        retry_at: retry_at.map(Timestamp::from_millis),
        is_final,
    })
}

fn job_failed(message: &str) -> Event {
    let (class, stage, attempt) = (ErrorClass::Permanent, "echo-1".into(), Attempt(1));
    Event::JobFailed(JobFailed { error: JobError { class, message: message.into(), stage, attempt } })
}

/// The history so far, by name.
fn history(until: &str) -> Memory {
    let mut log = Memory::default();
    let id: JobId = job(JOB);
    if until == "new" {
        return log;
    }
    log.apply(id, |_| Command::Submit(submission(None)));
    match until {
        "submitted" => {}
        "started" => log.apply(id, start_of(0)),
        "retrying" => {
            log.apply(id, start_of(0));
            log.apply(id, fail(0, 1, ErrorClass::Transient));
        }
        "completed" => {
            log.apply(id, start_of(0));
            log.apply(id, complete(0, 1, payload("1")));
            log.apply(id, start_of(1));
            log.apply(id, complete(1, 1, payload("1")));
        }
        "cancelled" => log.apply(id, |_| Command::Cancel { reason: None }),
        other => panic!("{other}"),
    }
    log
}

#[tokio::test]
async fn wrong_histories_are_named() {
    let cancelled = || Event::JobCancelled(JobCancelled { reason: None });
    let retried = |stage: &str| Event::JobRetried(JobRetried { stage: stage.into() });
    let cases: Vec<(&str, Vec<Event>, &str)> = vec![
        ("new", vec![started("echo-1", 1)], "begins with StageStarted"),
        ("submitted", vec![Event::JobSubmitted(submission(None))], "a job that exists"),
        ("submitted", vec![started("echo-2", 1)], "the current stages are"),
        ("submitted", vec![started("echo-1", 2)], "expected attempt 1"),
        ("submitted", vec![completed("echo-1", 1)], "not started"),
        ("submitted", vec![retried("echo-1")], "while the job is open"),
        ("started", vec![started("echo-1", 2)], "while the stage is running"),
        ("started", vec![completed("echo-1", 2)], "expected attempt 1"),
        ("started", vec![completed("echo-1", 1), completed("echo-1", 1)], "the current stages are"),
        ("started", vec![step("a"), step("b"), step("a")], "twice"),
        ("started", vec![failed(ErrorClass::Transient, Some(1), true)], "either retry_at or final"),
        ("started", vec![failed(ErrorClass::Transient, None, false)], "either retry_at or final"),
        ("started", vec![failed(ErrorClass::Permanent, Some(1), false)], "more permanent failures"),
        ("started", vec![failed(ErrorClass::Timeout, None, true)], "fewer failures"),
        ("started", vec![failed(ErrorClass::Permanent, None, true), job_failed("other")], "another error"),
        (
            "started",
            vec![failed(ErrorClass::Permanent, None, true), retried("echo-1")],
            "is missing: JobFailed",
        ),
        ("started", vec![Event::JobCompleted(JobCompleted {})], "without the last stage's result"),
        ("started", vec![failed(ErrorClass::Permanent, None, true)], "is missing: JobFailed"),
        ("retrying", vec![started("echo-1", 1)], "expected attempt 2"),
        ("retrying", vec![started("echo-1", 2), completed("echo-1", 1)], "expected attempt 2"),
        ("completed", vec![cancelled()], "after the job was completed"),
        ("completed", vec![retried("echo-2")], "after the job was completed"),
        ("cancelled", vec![started("echo-1", 1)], "while the job is cancelled"),
        ("cancelled", vec![cancelled()], "after the job was cancelled"),
        ("cancelled", vec![retried("echo-2")], "it stopped at"),
    ];
    for (until, events, message) in cases {
        let mut log = history(until);
        log.pass();
        for event in &events {
            log.append(job(JOB), event);
        }
        log.tasks.clear();
        let report = verify_store(&log, Scope::Everything, |_, _| {}).await.unwrap();
        let rules: Vec<_> = report.findings.iter().filter(|finding| finding.rule == Rule::Job).collect();
        let [finding] = rules.as_slice() else { panic!("{until} {events:?}: {report:#?}") };
        assert!(finding.message.contains(message), "{until} {events:?}: {finding:?}");
        assert_eq!(finding.job, Some(job(JOB)));
    }
}

/// Failures and manual retries alternate; the plan allows two failures each time.
#[tokio::test]
async fn a_manual_retry_starts_counting_anew() {
    let mut log = history("retrying");
    log.apply(job(JOB), start_of(0));
    log.apply(job(JOB), fail(0, 2, ErrorClass::Transient));
    log.apply(job(JOB), |_| Command::Retry);
    log.apply(job(JOB), start_of(0));
    log.apply(job(JOB), fail(0, 3, ErrorClass::Transient));
    let report = verify_store(&log, Scope::Everything, |_, _| {}).await.unwrap();
    assert_eq!(report.findings, []);
}

#[tokio::test]
async fn one_key_makes_one_job() {
    let mut log = Memory::default();
    for n in [1, 2] {
        log.apply(job(n), |_| Command::Submit(submission(Some("same"))));
    }
    let report = verify_store(&log, Scope::Everything, |_, _| {}).await.unwrap();
    assert!(report.findings.iter().any(|finding| finding.rule == Rule::Keys && finding.job == Some(job(2))));
}

/// A job of a first stage, a group of two and a last one, with the draft written.
fn group() -> Memory {
    let plain = submission(None);
    let stage = |name: &str, beside_previous| PlannedStage {
        name: name.into(),
        beside_previous,
        ..plain.plan.stages()[0].clone()
    };
    let stages = vec![stage("draft", false), stage("quality", false), stage("seo", true)];
    let submitted = JobSubmitted { plan: Plan::new(stages).unwrap(), ..plain.as_ref().clone() };
    let mut log = Memory::default();
    log.append(job(JOB), &Event::JobSubmitted(submitted.into()));
    for event in [started("draft", 1), completed("draft", 1), started("quality", 1)] {
        log.append(job(JOB), &event);
    }
    log
}

fn sent_back(stage: &str, to: &str) -> Event {
    let Event::StageCompleted(plain) = completed(stage, 1) else { unreachable!() };
    let rework = Some(Rework { to: to.into(), reason: "thin".into() });
    Event::StageCompleted(StageCompleted { rework, ..plain })
}

fn reopened(stage: &str, round: u32) -> Event {
    Event::StagesReopened(StagesReopened { stage: stage.into(), round, reason: "thin".into() })
}

#[tokio::test]
async fn groups_and_rounds_have_their_rules() {
    let both = |to: &str| vec![started("seo", 1), completed("seo", 1), sent_back("quality", to)];
    let then = |mut events: Vec<Event>, last: Event| {
        events.push(last);
        events
    };
    let bad_output = Event::JobFailed(JobFailed {
        error: JobError {
            class: ErrorClass::BadOutput,
            message: "no".into(),
            stage: "quality".into(),
            attempt: Attempt(1),
        },
    });
    let cases: Vec<(Vec<Event>, Option<&str>)> = vec![
        (vec![started("seo", 1), completed("quality", 1)], None),
        (vec![sent_back("quality", "draft"), started("seo", 1)], None),
        (then(both("draft"), reopened("draft", 2)), None),
        (then(both("seo"), bad_output.clone()), None),
        (vec![started("draft", 2)], Some("the current stages are")),
        (
            vec![completed("quality", 1), Event::JobCompleted(JobCompleted {})],
            Some("without the last stage's"),
        ),
        (vec![sent_back("quality", "draft"), reopened("draft", 2)], Some("without a result directly before")),
        (both("draft"), Some("is missing: StagesReopened")),
        (then(both("draft"), reopened("draft", 3)), Some("another round than 2")),
        (then(both("draft"), bad_output), Some("is missing: StagesReopened")),
        (both("nowhere"), Some("is missing: JobFailed")),
        (then(then(both("draft"), reopened("draft", 2)), started("draft", 1)), Some("expected attempt 2")),
    ];
    for (events, expected) in cases {
        let mut log = group();
        events.iter().for_each(|event| log.append(job(JOB), event));
        let report = verify_store(&log, Scope::Everything, |_, _| {}).await.unwrap();
        let found: Vec<&str> = report
            .findings
            .iter()
            .filter(|finding| finding.rule == Rule::Job)
            .map(|finding| finding.message.as_str())
            .collect();
        match expected {
            // The queue agrees, too.
            None => assert_eq!(report.findings, [], "{events:?}"),
            Some(expected) => assert!(
                matches!(found[..], [message] if message.contains(expected)),
                "{events:?}: expected {expected:?}, got {found:?}"
            ),
        }
    }
}
