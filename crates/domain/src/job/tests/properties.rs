//! What holds for every history, not only for the ones we thought of.

use proptest::prelude::*;

use super::*;
use crate::envelope::{Meta, Recorded};
use crate::wire;

fn any_command() -> impl Strategy<Value = Command> {
    let stage = (0_u16..3).prop_map(StageIndex);
    let attempt = (0_u32..6).prop_map(Attempt);
    let class = proptest::sample::select(ErrorClass::ALL.to_vec());
    prop_oneof![
        4 => (0_i64..5_000).prop_map(|at| Command::StartStage { worker: "w".into(), at: time(at) }),
        3 => (stage.clone(), attempt.clone()).prop_map(|(stage, attempt)| {
            Command::CompleteStage { stage, attempt, output: output("x"), usage: None }
        }),
        3 => (stage.clone(), attempt.clone(), class.clone(), any::<u16>(), 0_i64..5_000).prop_map(
            |(stage, attempt, class, jitter, at)| Command::FailStage {
                stage,
                attempt,
                class,
                message: "m".into(),
                retry_after: None,
                jitter: Jitter(jitter),
                at: time(at),
            }
        ),
        1 => (stage, attempt, 0_u8..3).prop_map(|(stage, attempt, key)| Command::RecordStep {
            stage,
            attempt,
            key: key.to_string(),
            output: output("s"),
            spent: None,
        }),
        1 => Just(Command::Cancel { reason: None }),
        1 => Just(Command::Retry),
        1 => class.prop_map(|class| Command::Abandon { class, message: "m".into() }),
    ]
}

/// Everything that can be said about a history without knowing how it came about.
fn check_history(events: &[Event]) {
    let mut results = BTreeMap::new();
    let mut failures = 0_u32;
    let mut last_started = BTreeMap::new();
    let mut ended = false;
    for (index, event) in events.iter().enumerate() {
        assert!(!ended || matches!(event, Event::JobRetried(_)), "{event:?} after the end: {events:#?}");
        match event {
            Event::JobSubmitted(_) => assert_eq!(index, 0),
            Event::StageStarted(started) => {
                let before = last_started.insert(started.stage.clone(), started.attempt);
                assert_eq!(started.attempt, before.unwrap_or_default().next(), "attempts count up by one");
            }
            Event::StepRecorded(step) => assert_eq!(last_started.get(&step.stage), Some(&step.attempt)),
            Event::StageCompleted(completed) => {
                assert_eq!(last_started.get(&completed.stage), Some(&completed.attempt));
                *results.entry(completed.stage.clone()).or_insert(0) += 1;
                failures = 0;
            }
            Event::StageFailed(failed) => {
                assert_eq!(failed.is_final, failed.retry_at.is_none());
                if matches!(
                    failed.class,
                    ErrorClass::Transient | ErrorClass::BadOutput | ErrorClass::Timeout | ErrorClass::Panic
                ) {
                    failures += 1;
                    assert!(failures <= 3, "more failures than the plan allows");
                    assert_eq!(failed.is_final, failures == 3);
                }
            }
            Event::JobRetried(_) => {
                ended = false;
                failures = 0;
            }
            Event::JobCompleted(_) => {
                assert_eq!(results.len(), 2, "completed without a result of every stage")
            }
            Event::JobFailed(_) | Event::JobCancelled(_) => {}
            Event::Queue(_) | Event::Archive(_) => panic!("an event of the queues in a job: {events:#?}"),
        }
        ended |= matches!(event, Event::JobCompleted(_) | Event::JobFailed(_) | Event::JobCancelled(_));
    }
    assert!(results.values().all(|n| *n == 1), "a stage has more than one result: {results:?}");
}

proptest! {
    #[test]
    fn decisions_keep_every_invariant(commands in proptest::collection::vec(any_command(), 0..60)) {
        let mut job = fold(&[submitted()]);
        let mut events = vec![submitted()];
        let mut has_task = true;
        for command in commands {
            let Ok(new) = decide(&job, command.clone()) else { continue };
            for event in new {
                match react(&job, &event) {
                    Some(TaskChange::Open { .. }) => { prop_assert!(!has_task); has_task = true; }
                    Some(TaskChange::Close { .. }) => { prop_assert!(has_task); has_task = false; }
                    Some(TaskChange::Lease { .. } | TaskChange::Release { .. } | TaskChange::Advance { .. }) => {
                        prop_assert!(has_task);
                    }
                    None => {}
                }
                job = evolve(job, &event);
                events.push(event);
            }
            // A worker that repeats itself is not heard twice. A start or a retry is a new wish each time.
            let repeats = matches!(command, Command::CompleteStage { .. } | Command::FailStage { .. } | Command::RecordStep { .. });
            if repeats && let Ok(again) = decide(&job, command) {
                prop_assert_eq!(again, vec![]);
            }
            prop_assert_eq!(has_task, !job.is_terminal());
        }
        check_history(&events);
        prop_assert_eq!(&fold(&events), &job);
        prop_assert_eq!(job.version.0, events.len() as u64);
    }

    #[test]
    fn any_sequence_of_events_folds_and_survives_the_wire(order in proptest::collection::vec(0_usize..12, 0..40)) {
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
            let _ = react(&job, event);
            job = evolve(job, event);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_panic(kind in 0_usize..9, data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = wire::decode_parts(wire::KINDS[kind], 1, &data);
    }
}
