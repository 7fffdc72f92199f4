//! The stored form of each kind of event, and the chain.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use quillwork_domain::chain;
use quillwork_domain::job::Event;
use quillwork_domain::wire;

use crate::history;

/// The golden files, one of each kind.
const GOLDEN: [(&str, &str); 13] = [
    ("JobSubmitted", include_str!("../../tests/wire/JobSubmitted.v1.json")),
    ("StageStarted", include_str!("../../tests/wire/StageStarted.v1.json")),
    ("StepRecorded", include_str!("../../tests/wire/StepRecorded.v1.json")),
    ("StageCompleted", include_str!("../../tests/wire/StageCompleted.v1.json")),
    ("StageFailed", include_str!("../../tests/wire/StageFailed.v1.json")),
    ("JobCompleted", include_str!("../../tests/wire/JobCompleted.v1.json")),
    ("JobFailed", include_str!("../../tests/wire/JobFailed.v1.json")),
    ("JobCancelled", include_str!("../../tests/wire/JobCancelled.v1.json")),
    ("JobRetried", include_str!("../../tests/wire/JobRetried.v1.json")),
    ("QueuePaused", include_str!("../../tests/wire/QueuePaused.v1.json")),
    ("QueueResumed", include_str!("../../tests/wire/QueueResumed.v1.json")),
    ("QueueLimited", include_str!("../../tests/wire/QueueLimited.v1.json")),
    ("JobsArchived", include_str!("../../tests/wire/JobsArchived.v1.json")),
];

const N_JOBS: u64 = 200;

/// One event of each kind, and a completed stage with a kilobyte in it.
fn one_of_each() -> Vec<(String, Event)> {
    let read = |(kind, json): (&str, &str)| {
        (kind.to_owned(), wire::decode_parts(kind, 1, json.trim_end().as_bytes()).unwrap())
    };
    let mut events: Vec<_> = GOLDEN.into_iter().map(read).collect();
    let completed = |event: &Event| matches!(event, Event::StageCompleted(_));
    events.push(("StageCompleted of 1 KiB".into(), history::events().into_iter().find(completed).unwrap()));
    events
}

pub(crate) fn encodes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire encode");
    for (name, event) in one_of_each() {
        group.bench_with_input(BenchmarkId::from_parameter(name), &event, |bencher, event| {
            bencher.iter(|| wire::encode(black_box(event)).unwrap());
        });
    }
    group.finish();
}

pub(crate) fn decodes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire decode");
    for (name, event) in one_of_each() {
        let encoded = wire::encode(&event).unwrap();
        group.bench_with_input(BenchmarkId::from_parameter(name), &encoded, |bencher, encoded| {
            bencher.iter(|| wire::decode_parts(encoded.kind, 1, black_box(&encoded.data)).unwrap());
        });
    }
    group.finish();
}

pub(crate) fn links(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain link");
    for recorded in &history::log(1)[..3] {
        let name = format!("{} of {} bytes", recorded.kind, recorded.data.len());
        group.bench_with_input(BenchmarkId::from_parameter(name), recorded, |bencher, recorded| {
            bencher.iter(|| chain::link(&chain::GENESIS, black_box(recorded)));
        });
    }
    group.finish();
}

pub(crate) fn verifies(criterion: &mut Criterion) {
    let log = history::log(N_JOBS);
    let mut group = criterion.benchmark_group("chain verify");
    group.throughput(Throughput::Elements(log.len() as u64));
    group.bench_function("whole jobs", |bencher| {
        bencher.iter(|| {
            let mut previous = chain::GENESIS;
            for recorded in black_box(&log) {
                previous = chain::link(&previous, recorded);
                assert_eq!(previous, recorded.hash);
            }
        });
    });
    group.finish();
}
