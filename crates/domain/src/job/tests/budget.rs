//! Money: given events, when a command comes, then these events follow.

use std::time::Duration;

use super::lifecycle::{
    NOW, cancelled, check, complete, completed, fail_of, failed_of, job_failed_of, start_of, started,
};
use super::*;

const LEFT: u16 = 0;
const RIGHT: u16 = 1;

/// One stage, and a budget of 100.
fn single() -> Event {
    with_budget(submitted_with(vec![stage("left")]), Some(100))
}

/// Two stages beside each other and one after them, and a budget of 100.
fn pair() -> Event {
    with_budget(submitted_with(vec![stage("left"), beside("right"), stage("last")]), Some(100))
}

fn step(stage: &str, attempt: u32, cost: u64) -> Event {
    Event::StepRecorded(StepRecorded {
        stage: stage.into(),
        attempt: Attempt(attempt),
        step_key: format!("{attempt}"),
        output: output("s"),
        spent: Some(spent(cost)),
    })
}

/// The worker was refused money: that of the job, or its tenant's for so long.
fn refused(stage: u16, attempt: u32, wait: Option<u64>) -> Command {
    fail_of(stage, attempt, ErrorClass::BudgetExhausted, wait)
}

fn parked(stage: &str, attempt: u32, until: Option<i64>) -> Event {
    let Event::StageFailed(failed) = failed_of(stage, attempt, ErrorClass::BudgetExhausted, until) else {
        unreachable!()
    };
    Event::StageFailed(StageFailed { is_final: false, ..failed })
}

fn paused(reason: PauseReason, until: Option<i64>) -> Event {
    Event::JobPaused(JobPaused { reason, until: until.map(time) })
}

fn for_job() -> Event {
    paused(PauseReason::JobBudget, None)
}

fn resumed() -> Event {
    Event::JobResumed(JobResumed {})
}

fn set(max_cost_micros: u64) -> Event {
    Event::BudgetSet(BudgetSet { max_cost_micros })
}

fn set_budget(max_cost_micros: u64) -> Command {
    Command::SetBudget { max_cost_micros }
}

/// The one stage has spent the budget, and the job is paused.
fn broke() -> Vec<Event> {
    vec![single(), started("left", 1), step("left", 1, 100), parked("left", 1, None), for_job()]
}

fn and(given: &[Event], more: &[Event]) -> Vec<Event> {
    [given, more].concat()
}

#[test]
fn a_job_that_has_spent_its_budget_is_paused() {
    check(&broke()[..3], refused(LEFT, 1, None), Ok(vec![parked("left", 1, None), for_job()]));
    let job = fold(&broke());
    assert_eq!((job.spent, job.status(Timestamp::MAX)), (100, Some(Status::Paused)));
    assert_eq!(job.stages[0].failures, 0, "no attempt is burnt");
}

#[test]
fn what_was_spent_is_kept_over_retries_stages_and_rounds() {
    let given = [
        submitted(),
        started("first", 1),
        step("first", 1, 30),
        failed_of("first", 1, ErrorClass::Transient, Some(NOW)),
        started("first", 2),
        step("first", 2, 20),
        completed("first", 2),
        started("second", 1),
        step("second", 1, 7),
    ];
    assert_eq!(fold(&given).spent, 57);
    let reopened =
        Event::StagesReopened(StagesReopened { stage: "first".into(), round: 2, reason: "thin".into() });
    let ends: [&[Event]; 2] =
        [&[reopened], &[cancelled(), Event::JobRetried(JobRetried { stage: "second".into() })]];
    for end in ends {
        assert_eq!(fold(&and(&given, end)).spent, 57, "{end:?}");
    }
}

#[test]
fn a_paused_job_is_not_started_and_keeps_its_task() {
    check(&broke(), start_of(LEFT, NOW), Err(Rejection::NothingToStart));
    let before = fold(&broke()[..3]);
    let changes: Vec<TaskChange> = react(&before, &broke()[3]).collect();
    assert_eq!(changes, [TaskChange::Release { stage: StageIndex(LEFT), run_at: Timestamp::MAX }]);
    assert_eq!(fold(&broke()).open().collect::<Vec<_>>(), [StageIndex(LEFT)]);
}

#[test]
fn a_higher_budget_lets_the_job_go_on_and_a_lower_one_does_not() {
    check(&broke(), set_budget(200), Ok(vec![set(200), resumed()]));
    check(&broke(), set_budget(101), Ok(vec![set(101), resumed()]));
    check(&broke(), set_budget(50), Ok(vec![set(50)]));
    // Said before.
    check(&broke(), set_budget(100), Ok(vec![]));
    let changes: Vec<TaskChange> = react(&fold(&broke()), &resumed()).collect();
    assert_eq!(changes, [TaskChange::Resume { stage: StageIndex(LEFT) }]);
    let again = and(&broke(), &[set(200), resumed()]);
    check(&again, start_of(LEFT, NOW), Ok(vec![started("left", 2)]));
    assert_eq!(fold(&again).status(Timestamp::MAX), Some(Status::Queued));
}

#[test]
fn a_budget_that_is_not_used_up_is_set_without_further_ado() {
    check(&[submitted()], set_budget(5), Ok(vec![set(5)]));
    check(&broke()[..3], set_budget(200), Ok(vec![set(200)]));
    let ended = Err(Rejection::NoBudgetNeeded(Status::Cancelled));
    check(&and(&broke(), &[cancelled()]), set_budget(200), ended);
    check(&[], set_budget(5), Err(Rejection::NotFound));
}

#[test]
fn a_stage_that_finds_no_money_although_there_is_some_has_so_many_attempts() {
    let limited = |budget| with_budget(submitted_with(vec![stage("left")]), budget);
    let failed = |attempt, retry_at| failed_of("left", attempt, ErrorClass::Transient, retry_at);
    let (first, second) = (failed(1, Some(NOW + 100)), failed(2, Some(NOW + 200)));
    // Without a limit, far below it, and with a new one of which the worker does not know yet.
    for given in [
        vec![limited(None), started("left", 1)],
        vec![limited(Some(100)), started("left", 1)],
        and(&broke()[..3], &[set(200)]),
    ] {
        check(&given, refused(LEFT, 1, None), Ok(vec![first.clone()]));
        let given = and(&given, &[first.clone(), started("left", 2)]);
        check(&given, refused(LEFT, 2, None), Ok(vec![second.clone()]));
        let given = and(&given, &[second.clone(), started("left", 3)]);
        let end = vec![failed(3, None), job_failed_of("left", 3, ErrorClass::Transient)];
        check(&given, refused(LEFT, 3, None), Ok(end));
    }
}

#[test]
fn what_is_not_paused_cannot_be_resumed_and_what_has_no_money_must_get_some() {
    check(&[submitted()], Command::Resume, Err(Rejection::NotResumable(Status::Queued)));
    check(&broke()[..3], Command::Resume, Err(Rejection::NotResumable(Status::Running)));
    check(&and(&broke(), &[cancelled()]), Command::Resume, Err(Rejection::NotResumable(Status::Cancelled)));
    let used_up = Rejection::BudgetUsedUp { spent: Usd(100), budget: Usd(100) };
    check(&broke(), Command::Resume, Err(used_up));
}

#[test]
fn a_tenants_new_day_sets_the_job_going_by_itself() {
    let given = [submitted_with(vec![stage("left")]), started("left", 1), step("left", 1, 100)];
    let until = NOW + 5_000;
    let pause = [parked("left", 1, Some(until)), paused(PauseReason::TenantBudget, Some(until))];
    check(&given, refused(LEFT, 1, Some(5_000)), Ok(pause.to_vec()));
    let given = and(&given, &pause);
    assert_eq!(fold(&given).status(time(NOW)), Some(Status::Paused));
    check(&given, start_of(LEFT, until - 1), Err(Rejection::NothingToStart));
    check(&given, start_of(LEFT, until), Ok(vec![started("left", 2)]));
    // Or earlier, if somebody granted the tenant more.
    check(&given, Command::Resume, Ok(vec![resumed()]));
    check(&and(&given, &[resumed()]), start_of(LEFT, NOW), Ok(vec![started("left", 2)]));
    // The job's own budget has no part in it.
    check(&given, set_budget(500), Ok(vec![set(500)]));
}

#[test]
fn a_paused_job_can_be_cancelled_and_set_going_again() {
    check(&broke(), Command::Cancel { reason: None }, Ok(vec![cancelled()]));
    let changes: Vec<TaskChange> = react(&fold(&broke()), &cancelled()).collect();
    assert_eq!(changes, [TaskChange::Close { stage: StageIndex(LEFT) }]);
    let stopped = and(&broke(), &[cancelled()]);
    assert_eq!(fold(&stopped).status(Timestamp::MAX), Some(Status::Cancelled));
    let retried = Event::JobRetried(JobRetried { stage: "left".into() });
    check(&stopped, Command::Retry, Ok(vec![retried]));
}

#[test]
fn the_job_is_paused_once_nothing_beside_the_poor_stage_moves() {
    let given = [pair(), started("left", 1), started("right", 1), step("left", 1, 100)];
    let left = parked("left", 1, None);
    check(&given, refused(LEFT, 1, None), Ok(vec![left.clone()]));
    let given = and(&given, &[left]);
    assert_eq!(fold(&given).status(time(NOW)), Some(Status::Running));
    let ends = [
        (complete(RIGHT, 1), vec![completed("right", 1), for_job()]),
        (refused(RIGHT, 1, None), vec![parked("right", 1, None), for_job()]),
        (
            refused(RIGHT, 1, Some(9)),
            vec![parked("right", 1, Some(NOW + 9)), paused(PauseReason::JobBudget, Some(NOW + 9))],
        ),
        // It tries again before the job rests.
        (
            fail_of(RIGHT, 1, ErrorClass::Released, None),
            vec![failed_of("right", 1, ErrorClass::Released, Some(NOW))],
        ),
        (
            fail_of(RIGHT, 1, ErrorClass::Permanent, None),
            vec![
                failed_of("right", 1, ErrorClass::Permanent, None),
                job_failed_of("right", 1, ErrorClass::Permanent),
            ],
        ),
    ];
    for (command, then) in ends {
        check(&given, command, Ok(then));
    }
    // Somebody acts before the job rests.
    check(&given, set_budget(500), Ok(vec![set(500), resumed()]));
}

#[test]
fn a_stage_that_waits_beside_a_poor_one_may_still_start() {
    let given = [pair(), started("left", 1), step("left", 1, 100), parked("left", 1, None)];
    assert_eq!(fold(&given).status(time(NOW)), Some(Status::Queued));
    check(&given, start_of(RIGHT, NOW), Ok(vec![started("right", 1)]));
}

#[test]
fn all_that_waits_for_money_goes_on_together() {
    let given = [
        pair(),
        started("left", 1),
        started("right", 1),
        step("left", 1, 100),
        parked("left", 1, None),
        parked("right", 1, Some(NOW + 9)),
        paused(PauseReason::JobBudget, Some(NOW + 9)),
    ];
    let changes: Vec<TaskChange> = react(&fold(&given), &resumed()).collect();
    assert_eq!(changes, [LEFT, RIGHT].map(|stage| TaskChange::Resume { stage: StageIndex(stage) }));
    // The one whose day has come goes on by itself; the other waits on.
    check(&given, start_of(RIGHT, NOW + 9), Ok(vec![started("right", 2)]));
    check(&given, start_of(LEFT, NOW + 9), Err(Rejection::NothingToStart));
}

#[test]
fn the_wait_is_at_most_until_the_end_of_time() {
    let given = [submitted_with(vec![stage("left")]), started("left", 1)];
    let Command::FailStage { stage, attempt, class, message, jitter, at, .. } = refused(LEFT, 1, None) else {
        unreachable!()
    };
    let retry_after = Some(Duration::MAX);
    let command = Command::FailStage { stage, attempt, class, message, retry_after, jitter, at };
    let end = Timestamp::MAX.as_millis();
    let then = vec![parked("left", 1, Some(end)), paused(PauseReason::TenantBudget, Some(end))];
    check(&given, command, Ok(then));
}
