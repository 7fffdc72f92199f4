//! Stages beside each other, and jobs that are sent back: given events, when a command comes, then these events follow.

use super::lifecycle::{
    NOW, cancelled, check, complete, completed, fail_of, failed_of, job_completed, job_failed_of, start_of,
    started,
};
use super::*;

const RESEARCH: u16 = 0;
const DRAFT: u16 = 1;
const QUALITY: u16 = 2;
const SEO: u16 = 3;
const PUBLISH: u16 = 4;

/// `["research", "draft", ["quality", "seo"], "publish"]`
fn article() -> Event {
    submitted_with(vec![
        PlannedStage { handler: "search".into(), ..stage("research") },
        PlannedStage { handler: "write".into(), ..stage("draft") },
        stage("quality"),
        beside("seo"),
        stage("publish"),
    ])
}

fn done(stage: &str, attempt: u32) -> [Event; 2] {
    [started(stage, attempt), completed(stage, attempt)]
}

/// The draft is written, and the stages of the group wait.
fn written() -> Vec<Event> {
    [vec![article()], done("research", 1).to_vec(), done("draft", 1).to_vec()].concat()
}

fn written_and(more: &[Event]) -> Vec<Event> {
    [written().as_slice(), more].concat()
}

fn rework(to: &str) -> Option<Rework> {
    Some(Rework { to: to.into(), reason: "thin".into() })
}

fn complete_with(stage: u16, attempt: u32, to: &str) -> Command {
    Command::CompleteStage {
        stage: StageIndex(stage),
        attempt: Attempt(attempt),
        output: output("x"),
        usage: None,
        rework: rework(to),
    }
}

fn completed_with(stage: &str, attempt: u32, to: &str) -> Event {
    let Event::StageCompleted(plain) = completed(stage, attempt) else { unreachable!() };
    Event::StageCompleted(StageCompleted { rework: rework(to), ..plain })
}

fn reopened(stage: &str, round: u32, reason: &str) -> Event {
    Event::StagesReopened(StagesReopened { stage: stage.into(), round, reason: reason.into() })
}

fn reacts(given: &[Event], event: &Event) -> Vec<TaskChange> {
    react(&fold(given), event).collect()
}

fn close(stage: u16) -> TaskChange {
    TaskChange::Close { stage: StageIndex(stage) }
}

fn follow(stage: u16) -> TaskChange {
    TaskChange::Follow { stage: StageIndex(stage) }
}

fn open(stage: u16) -> TaskChange {
    TaskChange::Open { stage: StageIndex(stage), run_at: None }
}

#[test]
fn the_stages_of_a_group_open_together_and_start_in_any_order() {
    let before = [vec![article()], done("research", 1).to_vec(), vec![started("draft", 1)]].concat();
    assert_eq!(reacts(&before, &completed("draft", 1)), [close(DRAFT), follow(QUALITY), follow(SEO)]);
    check(&written(), start_of(SEO, NOW), Ok(vec![started("seo", 1)]));
    let running = written_and(&[started("seo", 1)]);
    check(&running, start_of(QUALITY, NOW), Ok(vec![started("quality", 1)]));
    check(&running, start_of(SEO, NOW), Err(Rejection::NothingToStart));
    check(&running, start_of(PUBLISH, NOW), Err(Rejection::NothingToStart));
    check(&running, complete(QUALITY, 1), Err(Rejection::UnknownAttempt(Attempt(1))));
}

#[test]
fn a_first_group_opens_with_the_job() {
    let both = submitted_with(vec![stage("a"), beside("b")]);
    assert_eq!(reacts(&[], &both), [open(0), open(1)]);
    let one = [vec![both], done("b", 1).to_vec()].concat();
    let all = [one, vec![started("a", 1)]].concat();
    check(&all, complete(0, 1), Ok(vec![completed("a", 1), job_completed()]));
}

#[test]
fn the_last_of_a_group_opens_the_next() {
    let running = written_and(&[started("quality", 1), started("seo", 1)]);
    check(&running, complete(SEO, 1), Ok(vec![completed("seo", 1)]));
    assert_eq!(reacts(&running, &completed("seo", 1)), [close(SEO)]);
    let half = [running, vec![completed("seo", 1)]].concat();
    check(&half, start_of(PUBLISH, NOW), Err(Rejection::NothingToStart));
    check(&half, complete(SEO, 1), Ok(vec![]));
    check(&half, complete(QUALITY, 1), Ok(vec![completed("quality", 1)]));
    assert_eq!(reacts(&half, &completed("quality", 1)), [close(QUALITY), follow(PUBLISH)]);
    let all = [half, vec![completed("quality", 1), started("publish", 1)]].concat();
    check(&all, complete(PUBLISH, 1), Ok(vec![completed("publish", 1), job_completed()]));
}

#[test]
fn a_stage_sees_what_earlier_groups_returned_and_nothing_of_its_neighbours() {
    let job = fold(&written_and(&done("quality", 1)));
    assert_eq!(job.outputs_before(StageIndex(SEO)).count(), 2);
    assert_eq!(job.outputs_before(StageIndex(PUBLISH)).count(), 3);
    assert_eq!(job.current(), StageIndex(SEO));
    assert_eq!(job.n_done(), 3);
}

#[test]
fn each_stage_of_a_group_retries_by_its_own_policy() {
    use ErrorClass::{RateLimited, Transient};
    let failed = [
        started("quality", 1),
        failed_of("quality", 1, Transient, Some(NOW)),
        started("quality", 2),
        failed_of("quality", 2, Transient, Some(NOW + 200)),
        started("seo", 1),
    ];
    let given = written_and(&failed);
    check(
        &given,
        fail_of(SEO, 1, Transient, None),
        Ok(vec![failed_of("seo", 1, Transient, Some(NOW + 100))]),
    );
    check(&given, start_of(QUALITY, NOW + 199), Err(Rejection::NothingToStart));
    let given = [given, vec![started("quality", 3)]].concat();
    check(
        &given,
        fail_of(QUALITY, 3, RateLimited, Some(7_000)),
        Ok(vec![failed_of("quality", 3, RateLimited, Some(NOW + 7_100))]),
    );
    check(
        &given,
        fail_of(QUALITY, 3, Transient, None),
        Ok(vec![failed_of("quality", 3, Transient, None), job_failed_of("quality", 3, Transient)]),
    );
}

#[test]
fn a_job_runs_while_one_of_its_stages_does() {
    let status = |more: &[Event]| fold(&written_and(more)).status(time(NOW));
    let fails = failed_of("seo", 1, ErrorClass::Transient, Some(NOW + 9));
    let failing = [started("seo", 1), fails.clone()];
    assert_eq!(status(&[]), Some(Status::Running));
    assert_eq!(status(&failing), Some(Status::Retrying));
    assert_eq!(status(&[started("quality", 1), started("seo", 1), fails]), Some(Status::Running));
}

#[test]
fn the_end_of_a_job_is_the_end_of_all_its_stages() {
    use ErrorClass::Permanent;
    let running = written_and(&[started("quality", 1), started("seo", 1)]);
    assert_eq!(reacts(&running, &cancelled()), [close(QUALITY), close(SEO)]);
    let final_failure = failed_of("seo", 1, Permanent, None);
    assert_eq!(reacts(&running, &final_failure), [close(SEO)]);
    let failing = [running, vec![final_failure]].concat();
    let failure = job_failed_of("seo", 1, Permanent);
    assert_eq!(reacts(&failing, &failure), [close(QUALITY)]);
    let failed = [failing, vec![failure]].concat();
    check(&failed, complete(QUALITY, 1), Ok(vec![]));
    check(&failed, fail_of(QUALITY, 1, Permanent, None), Ok(vec![]));
    check(&failed, start_of(QUALITY, NOW), Err(Rejection::NothingToStart));
}

#[test]
fn a_retry_reopens_what_has_no_result() {
    let failed = written_and(&[
        started("quality", 1),
        started("seo", 1),
        completed("quality", 1),
        failed_of("seo", 1, ErrorClass::Permanent, None),
        job_failed_of("seo", 1, ErrorClass::Permanent),
    ]);
    let retried = |stage: &str| Event::JobRetried(JobRetried { stage: stage.into() });
    check(&failed, Command::Retry, Ok(vec![retried("seo")]));
    assert_eq!(reacts(&failed, &retried("seo")), [open(SEO)]);
    let again = [failed, vec![retried("seo"), started("seo", 2)]].concat();
    check(&again, complete(SEO, 1), Ok(vec![]));
    check(&again, complete(SEO, 2), Ok(vec![completed("seo", 2)]));
    assert_eq!(fold(&again).outputs_before(StageIndex(PUBLISH)).count(), 3);

    let cancelled = written_and(&[started("quality", 1), cancelled()]);
    check(&cancelled, Command::Retry, Ok(vec![retried("quality")]));
    assert_eq!(reacts(&cancelled, &retried("quality")), [open(QUALITY), open(SEO)]);
    assert_eq!(reacts(&[article(), lifecycle::cancelled()], &retried("research")), [open(RESEARCH)]);
}

#[test]
fn a_job_is_given_up_for_the_stage_that_nobody_can_run() {
    let abandon = |stage| Command::Abandon {
        stage: StageIndex(stage),
        class: ErrorClass::UnknownHandler,
        message: "no".into(),
    };
    let given = written_and(&[started("quality", 1)]);
    check(&given, abandon(SEO), Ok(vec![job_failed_of("seo", 0, ErrorClass::UnknownHandler)]));
    check(&given, abandon(PUBLISH), Ok(vec![job_failed_of("quality", 1, ErrorClass::UnknownHandler)]));
}

#[test]
fn a_job_goes_back_once_every_stage_beside_has_its_result() {
    let running = written_and(&[started("quality", 1), started("seo", 1)]);
    let asked = completed_with("quality", 1, "draft");
    check(&running, complete_with(QUALITY, 1, "draft"), Ok(vec![asked.clone()]));
    assert_eq!(reacts(&running, &asked), [close(QUALITY)]);
    let half = [running, vec![asked]].concat();
    let back = reopened("draft", 2, "quality: thin");
    check(&half, complete(SEO, 1), Ok(vec![completed("seo", 1), back.clone()]));
    assert_eq!(reacts(&half, &completed("seo", 1)), [close(SEO)]);
    let all = [half, vec![completed("seo", 1)]].concat();
    assert_eq!(reacts(&all, &back), [follow(DRAFT)]);
    let job = fold(&[all, vec![back]].concat());
    assert_eq!((job.round, job.n_done(), job.feedback.len()), (2, 1, 3));
    assert_eq!(job.status(time(NOW)), Some(Status::Running));
    assert_eq!(job.outputs_before(StageIndex(DRAFT)).count(), 1);
}

#[test]
fn the_earliest_stage_that_was_asked_for_runs_again() {
    let table = [
        // By name, by handler, and the earlier of two.
        ("draft", "draft", "draft"),
        ("write", "search", "research"),
        ("research", "draft", "research"),
    ];
    for (quality, seo, expected) in table {
        let given =
            written_and(&[started("quality", 1), started("seo", 1), completed_with("quality", 1, quality)]);
        let back = reopened(expected, 2, "quality: thin; seo: thin");
        check(&given, complete_with(SEO, 1, seo), Ok(vec![completed_with("seo", 1, seo), back]));
    }
}

/// The job was sent back to the draft, which is written anew.
fn second_round() -> Vec<Event> {
    written_and(&[
        started("quality", 1),
        completed_with("quality", 1, "draft"),
        started("seo", 1),
        completed("seo", 1),
        reopened("draft", 2, "quality: thin"),
        started("draft", 2),
    ])
}

#[test]
fn nothing_late_counts_in_a_new_round() {
    let given = second_round();
    check(&given, complete(DRAFT, 1), Ok(vec![]));
    check(&given, complete(QUALITY, 1), Ok(vec![]));
    check(&given, complete(DRAFT, 2), Ok(vec![completed("draft", 2)]));
    assert_eq!(reacts(&given, &completed("draft", 2)), [close(DRAFT), follow(QUALITY), follow(SEO)]);
    let on = [given, vec![completed("draft", 2)]].concat();
    check(&on, start_of(QUALITY, NOW), Ok(vec![started("quality", 2)]));
    assert_eq!(fold(&on).stages[0].attempt, Attempt(1), "what was not reopened is as it was");
}

#[test]
fn a_round_begins_with_no_failures_and_no_steps() {
    let step = Event::StepRecorded(StepRecorded {
        stage: "draft".into(),
        attempt: Attempt(2),
        step_key: "k".into(),
        output: output("s"),
        spent: None,
    });
    let fails = failed_of("draft", 2, ErrorClass::Transient, Some(NOW));
    let mut given = second_round();
    given.extend([step, fails, started("draft", 3)]);
    assert_eq!(fold(&given).stages[1].steps.len(), 1);
    given.extend([completed("draft", 3), started("quality", 2), completed_with("quality", 2, "draft")]);
    given.extend([started("seo", 2), completed("seo", 2), reopened("draft", 3, "quality: thin")]);
    let draft = &fold(&given).stages[1];
    assert_eq!((draft.attempt, draft.failures, draft.steps.len()), (Attempt(3), 0, 0));
    given.push(started("draft", 4));
    check(
        &given,
        fail_of(DRAFT, 4, ErrorClass::Transient, None),
        Ok(vec![failed_of("draft", 4, ErrorClass::Transient, Some(NOW + 100))]),
    );
}

fn refused(message: &str, attempt: u32) -> Event {
    let error = JobError {
        class: ErrorClass::BadOutput,
        message: message.into(),
        stage: "quality".into(),
        attempt: Attempt(attempt),
    };
    Event::JobFailed(JobFailed { error })
}

#[test]
fn a_job_goes_back_to_earlier_stages_only() {
    for to in ["quality", "seo", "publish", "nowhere"] {
        let given = written_and(&[started("seo", 1), completed("seo", 1), started("quality", 1)]);
        let message =
            format!("stage \"quality\" sent the job back to {to:?}, which is no stage before it: thin");
        let then = vec![completed_with("quality", 1, to), refused(&message, 1)];
        check(&given, complete_with(QUALITY, 1, to), Ok(then));
    }
}

#[test]
fn rounds_are_bounded_until_somebody_retries_the_job() {
    let mut given = vec![submitted_with(vec![stage("draft"), stage("quality")])];
    let mut attempt = 0;
    for retries in 0..2 {
        for rounds in 1..=MAX_ROUNDS {
            attempt += 1;
            // A retry only runs the quality stage again.
            let n_drafts = attempt - retries;
            if retries == 0 || rounds > 1 {
                given.extend(done("draft", n_drafts));
            }
            given.push(started("quality", attempt));
            let follows = if rounds < MAX_ROUNDS {
                reopened("draft", n_drafts + 1, "quality: thin")
            } else {
                refused(
                    "the job was to go back after 10 rounds, the most it may have: quality: thin",
                    attempt,
                )
            };
            let then = vec![completed_with("quality", attempt, "draft"), follows];
            check(&given, complete_with(1, attempt, "draft"), Ok(then.clone()));
            given.extend(then);
        }
        let retried = Event::JobRetried(JobRetried { stage: "quality".into() });
        check(&given, Command::Retry, Ok(vec![retried.clone()]));
        assert_eq!(reacts(&given, &retried), [open(1)]);
        given.push(retried);
    }
    check(&given, start_of(1, NOW), Ok(vec![started("quality", attempt + 1)]));
}
