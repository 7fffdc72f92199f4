//! Given events, when a command comes, then these events follow.

use std::sync::Arc;
use std::time::Duration;

use super::*;

pub(super) const NOW: i64 = 1_000_000;

#[track_caller]
pub(super) fn check(given: &[Event], when: Command, then: Result<Vec<Event>, Rejection>) {
    assert_eq!(decide(&fold(given), when), then);
}

fn start(at: i64) -> Command {
    start_of(0, at)
}

pub(super) fn start_of(stage: u16, at: i64) -> Command {
    Command::StartStage { stage: StageIndex(stage), worker: "w".into(), at: time(at) }
}

pub(super) fn started(stage: &str, attempt: u32) -> Event {
    Event::StageStarted(StageStarted { stage: stage.into(), attempt: Attempt(attempt), worker: "w".into() })
}

pub(super) fn complete(stage: u16, attempt: u32) -> Command {
    Command::CompleteStage {
        stage: StageIndex(stage),
        attempt: Attempt(attempt),
        output: output("x"),
        usage: None,
        rework: None,
    }
}

pub(super) fn completed(stage: &str, attempt: u32) -> Event {
    let output = output("x");
    Event::StageCompleted(StageCompleted {
        stage: stage.into(),
        attempt: Attempt(attempt),
        output,
        usage: None,
        rework: None,
    })
}

pub(super) fn job_completed() -> Event {
    Event::JobCompleted(JobCompleted {})
}

fn fail(attempt: u32, class: ErrorClass, retry_after: Option<u64>) -> Command {
    fail_of(0, attempt, class, retry_after)
}

pub(super) fn fail_of(stage: u16, attempt: u32, class: ErrorClass, retry_after: Option<u64>) -> Command {
    Command::FailStage {
        stage: StageIndex(stage),
        attempt: Attempt(attempt),
        class,
        message: "no".into(),
        retry_after: retry_after.map(Duration::from_millis),
        jitter: Jitter(u16::MAX),
        at: time(NOW),
    }
}

fn failed(attempt: u32, class: ErrorClass, retry_at: Option<i64>) -> Event {
    failed_of("first", attempt, class, retry_at)
}

pub(super) fn failed_of(stage: &str, attempt: u32, class: ErrorClass, retry_at: Option<i64>) -> Event {
    Event::StageFailed(StageFailed {
        stage: stage.into(),
        attempt: Attempt(attempt),
        error: "no".into(),
        class,
        retry_at: retry_at.map(time),
        is_final: retry_at.is_none(),
    })
}

fn job_failed(attempt: u32, class: ErrorClass) -> Event {
    job_failed_of("first", attempt, class)
}

pub(super) fn job_failed_of(stage: &str, attempt: u32, class: ErrorClass) -> Event {
    let error = JobError { class, message: "no".into(), stage: stage.into(), attempt: Attempt(attempt) };
    Event::JobFailed(JobFailed { error })
}

pub(super) fn cancelled() -> Event {
    Event::JobCancelled(JobCancelled { reason: None })
}

#[test]
fn submitting_twice_is_submitting_once() {
    let Event::JobSubmitted(submission) = submitted() else { unreachable!() };
    check(&[], Command::Submit(submission.clone()), Ok(vec![submitted()]));
    check(&[submitted()], Command::Submit(submission.clone()), Ok(vec![]));
    let other = Arc::new(JobSubmitted { topic: "other".into(), ..submission.as_ref().clone() });
    check(&[submitted()], Command::Submit(other), Err(Rejection::AlreadySubmitted));
}

#[test]
fn a_job_runs_its_stages_in_order_and_completes_with_the_last() {
    check(&[submitted()], start(NOW), Ok(vec![started("first", 1)]));
    let first = [submitted(), started("first", 1)];
    check(&first, complete(0, 1), Ok(vec![completed("first", 1)]));
    let second = [submitted(), started("first", 1), completed("first", 1), started("second", 1)];
    check(&second, complete(1, 1), Ok(vec![completed("second", 1), job_completed()]));
}

#[test]
fn a_scheduled_job_waits_for_its_time() {
    let Event::JobSubmitted(submission) = submitted() else { unreachable!() };
    let later = Event::JobSubmitted(Arc::new(JobSubmitted {
        run_at: Some(time(NOW)),
        ..submission.as_ref().clone()
    }));
    check(std::slice::from_ref(&later), start(NOW - 1), Err(Rejection::NothingToStart));
    check(std::slice::from_ref(&later), start(NOW), Ok(vec![started("first", 1)]));
    let job = fold(&[later]);
    assert_eq!(job.status(time(NOW - 1)), Some(Status::Scheduled));
    assert_eq!(job.status(time(NOW)), Some(Status::Queued));
}

#[test]
fn a_failure_is_retried_with_backoff_until_the_plan_has_no_attempt_left() {
    use ErrorClass::Transient;
    let given = vec![submitted(), started("first", 1)];
    check(&given, fail(1, Transient, None), Ok(vec![failed(1, Transient, Some(NOW + 100))]));
    let given = [given, vec![failed(1, Transient, Some(NOW + 100)), started("first", 2)]].concat();
    check(&given, fail(2, Transient, None), Ok(vec![failed(2, Transient, Some(NOW + 200))]));
    let given = [given, vec![failed(2, Transient, Some(NOW + 200)), started("first", 3)]].concat();
    check(&given, fail(3, Transient, None), Ok(vec![failed(3, Transient, None), job_failed(3, Transient)]));
}

#[test]
fn a_permanent_failure_ends_the_job_at_once() {
    use ErrorClass::NoSourcesFound;
    let given = [submitted(), started("first", 1)];
    check(
        &given,
        fail(1, NoSourcesFound, Some(5)),
        Ok(vec![failed(1, NoSourcesFound, None), job_failed(1, NoSourcesFound)]),
    );
}

#[test]
fn being_rate_limited_waits_as_asked_and_costs_no_attempt() {
    use ErrorClass::{RateLimited, Transient};
    let mut given = vec![submitted()];
    // Behind what was asked for, the backoff: so that not all come back at once.
    for (attempt, backoff) in (1..).zip([100, 200, 400, 800, 1_000]) {
        given.push(started("first", attempt));
        let refused = failed(attempt, RateLimited, Some(NOW + 60_000 + backoff));
        check(&given, fail(attempt, RateLimited, Some(60_000)), Ok(vec![refused.clone()]));
        given.push(refused);
    }
    given.push(started("first", 6));
    check(&given, fail(6, Transient, None), Ok(vec![failed(6, Transient, Some(NOW + 100))]));
    check(
        &given,
        fail(6, RateLimited, None),
        Ok(vec![failed(6, RateLimited, None), job_failed(6, RateLimited)]),
    );
}

#[test]
fn a_lost_worker_costs_no_attempt_but_a_stage_that_loses_every_worker_ends() {
    use ErrorClass::Lost;
    let mut given = vec![submitted(), started("first", 1)];
    check(&given, fail(1, Lost, None), Ok(vec![failed(1, Lost, Some(NOW))]));
    given.extend([failed(1, Lost, Some(NOW)), started("first", 2)]);
    check(&given, fail(2, Lost, None), Ok(vec![failed(2, Lost, Some(NOW + 100))]));
    given.extend([failed(2, Lost, Some(NOW + 100)), started("first", 3)]);
    check(&given, fail(3, Lost, None), Ok(vec![failed(3, Lost, None), job_failed(3, Lost)]));
}

#[test]
fn a_stage_given_back_may_start_at_once_and_as_often_as_it_takes() {
    let mut given = vec![submitted()];
    for attempt in 1..=50 {
        given.push(started("first", attempt));
        let event = failed(attempt, ErrorClass::Released, Some(NOW));
        check(&given, fail(attempt, ErrorClass::Released, None), Ok(vec![event.clone()]));
        given.push(event);
    }
}

#[test]
fn the_late_word_of_a_lost_attempt_changes_nothing() {
    use ErrorClass::{Lost, Transient};
    let given = [submitted(), started("first", 1), failed(1, Lost, Some(NOW)), started("first", 2)];
    check(&given, complete(0, 1), Ok(vec![]));
    check(&given, fail(1, Transient, None), Ok(vec![]));
    let record = |attempt| Command::RecordStep {
        stage: StageIndex(0),
        attempt: Attempt(attempt),
        key: "k".into(),
        output: output("x"),
        spent: None,
    };
    check(&given, record(1), Ok(vec![]));
    check(&given, record(3), Err(Rejection::UnknownAttempt(Attempt(3))));
    check(&given, complete(1, 1), Err(Rejection::UnknownAttempt(Attempt(1))));
    check(&[given.as_slice(), &[cancelled()]].concat(), complete(0, 2), Ok(vec![]));
}

#[test]
fn a_step_is_recorded_once() {
    let given = [submitted(), started("first", 1)];
    let step = |output: Payload| StepRecorded {
        stage: "first".into(),
        attempt: Attempt(1),
        step_key: "k".into(),
        output,
        spent: None,
    };
    let command = |text: &str| Command::RecordStep {
        stage: StageIndex(0),
        attempt: Attempt(1),
        key: "k".into(),
        output: output(text),
        spent: None,
    };
    let recorded = Event::StepRecorded(step(output("x")));
    check(&given, command("x"), Ok(vec![recorded.clone()]));
    check(&[given.as_slice(), &[recorded]].concat(), command("y"), Ok(vec![]));
}

#[test]
fn a_job_can_be_cancelled_until_it_has_ended() {
    let cancel = || Command::Cancel { reason: None };
    check(&[], cancel(), Err(Rejection::NotFound));
    check(&[submitted()], cancel(), Ok(vec![cancelled()]));
    check(&[submitted(), started("first", 1)], cancel(), Ok(vec![cancelled()]));
    check(&[submitted(), cancelled()], cancel(), Ok(vec![]));
    let ended = [
        submitted(),
        started("first", 1),
        failed(1, ErrorClass::Permanent, None),
        job_failed(1, ErrorClass::Permanent),
    ];
    check(&ended, cancel(), Err(Rejection::NotCancellable(Status::Failed)));
}

#[test]
fn a_failed_or_cancelled_job_can_be_retried_where_it_stopped() {
    let retried = Event::JobRetried(JobRetried { stage: "first".into() });
    let failed = [
        submitted(),
        started("first", 1),
        failed(1, ErrorClass::Quota, None),
        job_failed(1, ErrorClass::Quota),
    ];
    check(&failed, Command::Retry, Ok(vec![retried.clone()]));
    check(&[submitted(), cancelled()], Command::Retry, Ok(vec![retried.clone()]));
    check(&[submitted()], Command::Retry, Err(Rejection::NotRetryable(Status::Queued)));
    // Attempts go on counting, so that a late result of the first round cannot pass for one of the second.
    let again = [failed.as_slice(), &[retried]].concat();
    check(&again, start(NOW), Ok(vec![started("first", 2)]));
    check(&again, complete(0, 1), Ok(vec![]));
}

#[test]
fn a_job_that_nobody_can_run_is_given_up() {
    let abandon =
        || Command::Abandon { stage: StageIndex(0), class: ErrorClass::UnknownHandler, message: "no".into() };
    check(&[submitted()], abandon(), Ok(vec![job_failed(0, ErrorClass::UnknownHandler)]));
    check(&[submitted(), cancelled()], abandon(), Ok(vec![]));
}

#[test]
fn the_queue_follows_the_log() {
    let stage = StageIndex(0);
    let react_to = |given: &[Event], event: Event| react(&fold(given), &event).collect::<Vec<_>>();
    let running = [submitted(), started("first", 1)];
    assert_eq!(react_to(&[], submitted()), [TaskChange::Open { stage, run_at: None }]);
    assert_eq!(react_to(&[submitted()], started("first", 1)), [TaskChange::Lease { stage }]);
    assert_eq!(
        react_to(&running, completed("first", 1)),
        [TaskChange::Close { stage }, TaskChange::Follow { stage: StageIndex(1) }]
    );
    assert_eq!(
        react_to(&running, failed(1, ErrorClass::Transient, Some(NOW))),
        [TaskChange::Release { stage, run_at: time(NOW) }]
    );
    let last = [submitted(), started("first", 1), completed("first", 1), started("second", 1)];
    assert_eq!(react_to(&last, completed("second", 1)), [TaskChange::Close { stage: StageIndex(1) }]);
    let given_up = job_failed(1, ErrorClass::UnknownHandler);
    assert_eq!(react_to(&[submitted()], given_up.clone()), [TaskChange::Close { stage }]);
    let final_failure = failed(1, ErrorClass::Permanent, None);
    assert_eq!(react_to(&running, final_failure.clone()), [TaskChange::Close { stage }]);
    assert_eq!(react_to(&[running.as_slice(), &[final_failure]].concat(), given_up), []);
    assert_eq!(react_to(&running, cancelled()), [TaskChange::Close { stage }]);
}
