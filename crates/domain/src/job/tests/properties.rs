//! What holds for every history, not only for the ones we thought of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::envelope::{Meta, Recorded};
use crate::wire;

fn any_command() -> impl Strategy<Value = Command> {
    let stage = (0_u16..5).prop_map(StageIndex);
    let attempt = (0_u32..6).prop_map(Attempt);
    let class = proptest::sample::select(ErrorClass::ALL.to_vec());
    let to = proptest::option::weighted(0.3, proptest::sample::select(vec!["s0", "s1", "s2", "echo", "x"]));
    // Out of money at least as often as out of luck, and in both ways.
    let class = prop_oneof![Just(ErrorClass::BudgetExhausted), class];
    let wait = proptest::option::of(0_u64..2_000);
    prop_oneof![
        6 => (stage.clone(), 0_i64..5_000).prop_map(|(stage, at)| {
            Command::StartStage { stage, worker: "w".into(), at: time(at) }
        }),
        6 => (stage.clone(), attempt.clone(), to).prop_map(|(stage, attempt, to)| Command::CompleteStage {
            stage,
            attempt,
            output: output("x"),
            usage: None,
            rework: to.map(|to| Rework { to: to.into(), reason: "r".into() }),
        }),
        3 => (stage.clone(), attempt.clone(), class.clone(), any::<u16>(), 0_i64..5_000, wait).prop_map(
            |(stage, attempt, class, jitter, at, wait)| Command::FailStage {
                stage,
                attempt,
                class,
                message: "m".into(),
                retry_after: wait.map(Duration::from_millis),
                jitter: Jitter(jitter),
                at: time(at),
            }
        ),
        3 => (stage.clone(), attempt, 0_u8..3, 0_u64..30).prop_map(|(stage, attempt, key, cost)| Command::RecordStep {
            stage,
            attempt,
            key: key.to_string(),
            output: output("s"),
            spent: (cost > 0).then(|| spent(cost)),
        }),
        1 => (0_u64..100).prop_map(|max_cost_micros| Command::SetBudget { max_cost_micros }),
        1 => Just(Command::Resume),
        1 => Just(Command::Cancel { reason: None }),
        1 => Just(Command::Retry),
        1 => (stage, class).prop_map(|(stage, class)| Command::Abandon { stage, class, message: "m".into() }),
    ]
}

/// A plan of one to five stages, some of them beside each other.
fn any_submission() -> impl Strategy<Value = Event> {
    let budget = proptest::option::of(0_u64..50);
    (proptest::collection::vec(any::<bool>(), 0..5), budget).prop_map(|(besides, budget)| {
        let name = |place: usize| format!("s{place}");
        let others = besides.into_iter().enumerate();
        let others = others
            .map(|(place, is_beside)| PlannedStage { beside_previous: is_beside, ..stage(&name(place + 1)) });
        with_budget(submitted_with(std::iter::once(stage(&name(0))).chain(others).collect()), budget)
    })
}

/// What all recorded calls cost.
fn paid(events: &[Event]) -> u64 {
    let spent = |event: &Event| {
        if let Event::StepRecorded(step) = event {
            step.spent.as_ref().map(|spent| spent.cost_micros)
        } else {
            None
        }
    };
    events.iter().filter_map(spent).sum()
}

/// What can be said about one stage.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    started: Attempt,
    failures: u32,
    /// Since the last round that it took part in.
    has_result: bool,
}

/// Everything that can be said about a history without knowing how it came about.
fn check_history(events: &[Event]) {
    let Event::JobSubmitted(submitted) = &events[0] else { panic!("{events:#?}") };
    let plan = &submitted.plan;
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    let mut ended = false;
    let mut round = 1;
    for (index, event) in events.iter().enumerate() {
        assert!(!ended || matches!(event, Event::JobRetried(_)), "{event:?} after the end: {events:#?}");
        match event {
            Event::JobSubmitted(_) => assert_eq!(index, 0),
            Event::StageStarted(started) => {
                let group = plan.group(plan.index_of(&started.stage).unwrap());
                let is_done = |name: &str| seen.get(name).is_some_and(|seen| seen.has_result);
                assert!(!is_done(&started.stage), "started with a result: {events:#?}");
                assert!(plan.stages()[..group.start].iter().all(|stage| is_done(&stage.name)), "too early");
                let stage = seen.entry(started.stage.clone()).or_default();
                assert_eq!(started.attempt, stage.started.next(), "attempts count up by one");
                stage.started = started.attempt;
            }
            Event::StepRecorded(step) => assert_eq!(seen[&step.stage].started, step.attempt),
            Event::StageCompleted(completed) => {
                let stage = seen.get_mut(&completed.stage).unwrap();
                assert_eq!(stage.started, completed.attempt);
                let again = std::mem::replace(&mut stage.has_result, true);
                let retried_in_vain =
                    events[..index].iter().any(|event| matches!(event, Event::JobRetried(_)));
                assert!(!again || retried_in_vain, "two results in one round: {events:#?}");
                stage.failures = 0;
            }
            Event::StageFailed(failed) => {
                if failed.class != ErrorClass::BudgetExhausted {
                    assert_eq!(failed.is_final, failed.retry_at.is_none());
                }
                assert!(
                    !(failed.is_final && failed.class == ErrorClass::BudgetExhausted),
                    "money ends no job"
                );
                let stage = seen.get_mut(&failed.stage).unwrap();
                if matches!(
                    failed.class,
                    ErrorClass::Transient | ErrorClass::BadOutput | ErrorClass::Timeout | ErrorClass::Panic
                ) {
                    stage.failures += 1;
                    assert!(stage.failures <= 3, "more failures than the plan allows");
                    assert_eq!(failed.is_final, stage.failures == 3);
                }
            }
            Event::StagesReopened(reopened) => {
                round += 1;
                assert_eq!(reopened.round, round);
                let group = plan.group(plan.index_of(&reopened.stage).unwrap());
                for later in &plan.stages()[group.start..] {
                    let later = seen.entry(later.name.clone()).or_default();
                    (later.has_result, later.failures) = (false, 0);
                }
            }
            Event::JobRetried(retried) => {
                ended = false;
                seen.entry(retried.stage.clone()).or_default().has_result = false;
                let group = plan.group(plan.index_of(&retried.stage).unwrap());
                let in_vain = plan.stages()[group.clone()].iter().all(|stage| {
                    stage.name == retried.stage || seen.get(&stage.name).is_some_and(|seen| seen.has_result)
                });
                for (name, stage) in &mut seen {
                    if group.contains(&plan.index_of(name).unwrap().place()) {
                        stage.failures = 0;
                        // Those that sent the job back in vain do so together.
                        stage.has_result &= !in_vain || !asked_in_vain(&events[..index], name);
                    }
                }
            }
            Event::JobCompleted(_) => {
                let n_results = seen.values().filter(|seen| seen.has_result).count();
                assert_eq!(n_results, plan.len(), "completed without a result of every stage")
            }
            Event::JobPaused(paused) => {
                let job = fold(&events[..=index]);
                assert!(job.is_paused(), "paused while something moves: {events:#?}");
                assert!(paused.until.is_some() || job.is_budget_used_up());
            }
            Event::JobResumed(_) => assert!(fold(&events[..index]).has_parked(), "nothing to resume"),
            Event::JobFailed(_) | Event::JobCancelled(_) | Event::BudgetSet(_) => {}
            Event::Queue(_) | Event::Archive(_) | Event::Content(_) => {
                panic!("an event of no job in a job: {events:#?}")
            }
        }
        ended |= matches!(event, Event::JobCompleted(_) | Event::JobFailed(_) | Event::JobCancelled(_));
    }
}

/// True if the latest result of the stage called `name` was a wish to go back.
fn asked_in_vain(events: &[Event], name: &str) -> bool {
    let latest = events.iter().rev().find_map(|event| {
        if let Event::StageCompleted(completed) = event
            && completed.stage == name
        {
            return Some(completed.rework.is_some());
        }
        None
    });
    latest.unwrap_or(false)
}

fn opened(change: TaskChange) -> Option<StageIndex> {
    if let TaskChange::Open { stage, .. } = change { Some(stage) } else { None }
}

proptest! {
    #[test]
    fn decisions_keep_every_invariant(
        submission in any_submission(),
        commands in proptest::collection::vec(any_command(), 0..120),
    ) {
        let mut job = fold(std::slice::from_ref(&submission));
        let mut tasks: BTreeSet<StageIndex> = react(&Job::default(), &submission).filter_map(opened).collect();
        let mut events = vec![submission];
        for command in commands {
            let Ok(new) = decide(&job, command.clone()) else { continue };
            for event in new {
                for change in react(&job, &event) {
                    match change {
                        TaskChange::Open { stage, .. } | TaskChange::Follow { stage } => {
                            prop_assert!(tasks.insert(stage), "{:?} has a task", stage);
                        }
                        TaskChange::Close { stage } => prop_assert!(tasks.remove(&stage)),
                        TaskChange::Lease { stage }
                        | TaskChange::Release { stage, .. }
                        | TaskChange::Resume { stage } => {
                            prop_assert!(tasks.contains(&stage));
                        }
                    }
                }
                job = evolve(job, &event);
                events.push(event);
            }
            // A worker that repeats itself is not heard twice. A start or a retry is a new wish each time.
            let repeats = matches!(command, Command::CompleteStage { .. } | Command::FailStage { .. } | Command::RecordStep { .. });
            if repeats && let Ok(again) = decide(&job, command) {
                prop_assert_eq!(again, vec![]);
            }
            prop_assert_eq!(&tasks, &job.open().collect());
            // Whoever reads the log sees that a job is paused.
            let says = events.iter().rev().find(|event| !matches!(event, Event::BudgetSet(_)));
            prop_assert_eq!(job.is_paused(), matches!(says, Some(Event::JobPaused(_))));
            prop_assert_eq!(job.spent, paid(&events));
            prop_assert_eq!(tasks.is_empty(), job.is_terminal());
        }
        check_history(&events);
        prop_assert_eq!(&fold(&events), &job);
        prop_assert_eq!(job.version.0, events.len() as u64);
    }

    #[test]
    fn any_sequence_of_events_folds_and_survives_the_wire(order in proptest::collection::vec(0_usize..19, 0..40)) {
        let kinds = wire::tests::one_of_each();
        let mut job = Job::default();
        for index in order {
            let event = &kinds[index];
            let encoded = wire::encode(event).unwrap();
            let recorded = Recorded {
                position: crate::id::Position(1),
                stream: crate::id::StreamId::Job(crate::id::JobId(uuid::Uuid::max())),
                version: job.version.next(),
                event_id: uuid::Uuid::nil(),
                kind: encoded.kind.into(),
                schema_version: encoded.schema_version,
                data: encoded.data,
                meta: Meta {
                    actor: "a".into(),
                    tenant: "t".into(),
                    correlation_id: uuid::Uuid::nil(),
                    causation_id: None,
                    traceparent: None,
                },
                recorded_at: time(0),
                hash: crate::chain::GENESIS,
            };
            prop_assert_eq!(&wire::decode(&recorded).unwrap(), event);
            let _ = react(&job, event).count();
            job = evolve(job, event);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_panic(kind in 0_usize..19, data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = wire::decode_parts(wire::KINDS[kind], 1, &data);
    }
}
