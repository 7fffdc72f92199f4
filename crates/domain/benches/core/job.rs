//! Deciding each command of a job, and folding histories: as values, and as they are stored.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use quillwork_domain::job::{Job, decide, evolve};
use quillwork_domain::wire;

use crate::history;

const N_JOBS: u64 = 1_000;

pub(crate) fn decides(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(1));
    let mut job = Job::default();
    for (name, command) in history::commands() {
        group.bench_function(name, |bencher| {
            let decide = |command| decide(&job, command).unwrap();
            bencher.iter_batched(|| command.clone(), decide, BatchSize::SmallInput);
        });
        job = decide(&job, command).unwrap().iter().fold(job, evolve);
    }
    group.finish();
}

pub(crate) fn folds(criterion: &mut Criterion) {
    let history = history::events();
    let stored = history::log(N_JOBS);
    let mut group = criterion.benchmark_group("evolve");
    group.throughput(Throughput::Elements(history.len() as u64));
    group.bench_function("fold a job", |bencher| {
        bencher.iter(|| black_box(&history).iter().fold(Job::default(), evolve));
    });
    group.throughput(Throughput::Elements(stored.len() as u64));
    group.bench_function("decode and fold jobs", |bencher| {
        bencher.iter(|| {
            for events in stored.chunks(history.len()) {
                let fold = |job, recorded| evolve(job, &wire::decode(recorded).unwrap());
                black_box(events.iter().fold(Job::default(), fold));
            }
        });
    });
    group.finish();
}
