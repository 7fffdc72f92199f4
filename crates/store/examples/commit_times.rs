//! How long a commit of the PostgreSQL adapter takes.
//!
//! `cargo run --release -p quillwork-store --example commit_times -- postgres://…` fills a database that is for nothing else.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::time::{Duration, Instant};

use quillwork_app::clock;
use quillwork_app::ports::store::{
    Batch, Claim, Entry, Head, Holder, LeaseToken, LogWriter as _, Task, TaskKey, TaskWrite,
};
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::id::{JobId, Version};
use quillwork_domain::job::{Event, JobCancelled};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::plan::StageIndex;
use quillwork_store::postgres::{self, Hears, PostgresConfig, PostgresWriter};
use uuid::Uuid;

const N_COMMITS: usize = 300;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: commit_times URL [pooled]")?;
    let pooled = std::env::args().nth(2).is_some();
    let poll_interval = Duration::from_millis(250);
    let config = PostgresConfig { url, max_connections: 2, pooled, poll_interval, hears: Hears::All };
    postgres::migrate(&config).await?;
    let mut writer = postgres::writer(&config)?;
    let lease = writer.open_lease("commit_times", Duration::from_secs(600)).await?;
    for n_events in [1, 100, 600] {
        for locked in [false, true] {
            let mut times = Vec::with_capacity(N_COMMITS);
            for _ in 0..N_COMMITS {
                times.push(commit(&mut writer, lease, n_events, locked).await?);
            }
            times.sort_unstable();
            let (p50, p99) = (times[N_COMMITS / 2], times[N_COMMITS * 99 / 100]);
            let how = if locked { "locked  " } else { "compared" };
            println!("{n_events:>4} events, {how}  p50 {p50:>8.2?}  p99 {p99:>8.2?}");
        }
    }
    let claim = Claim { handler: "echo".into(), after: "".into(), limit: 64 };
    let mut times = Vec::with_capacity(N_COMMITS);
    for _ in 0..N_COMMITS {
        let started = Instant::now();
        writer.ready(std::slice::from_ref(&claim), clock::now()).await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!(
        "claim of 64           p50 {:>8.2?}  p99 {:>8.2?}",
        times[N_COMMITS / 2],
        times[N_COMMITS * 99 / 100]
    );
    Ok(())
}

/// One batch of new jobs with a task each, half of them born held, and the deletion of those.
async fn commit(
    writer: &mut PostgresWriter,
    lease: LeaseToken,
    n_events: usize,
    locked: bool,
) -> Result<Duration, Box<dyn Error>> {
    let survey = writer.survey().await?;
    let jobs: Vec<JobId> = (0..n_events).map(|_| JobId(Uuid::now_v7())).collect();
    let task = |(index, job): (usize, &JobId)| {
        let key = TaskKey { job: *job, stage: StageIndex(0) };
        let (handler, tenant) = ("echo".into(), "default".into());
        let task = Task { key, handler, tenant, priority: 0, run_at: clock::now() };
        TaskWrite::Insert { task, lease: (index % 2 == 0).then_some(lease) }
    };
    let tasks: Vec<TaskWrite> = jobs.iter().enumerate().map(task).collect();
    let done = tasks.iter().filter_map(|write| match write {
        TaskWrite::Insert { task, lease: Some(lease) } => {
            Some(TaskWrite::Delete { key: task.key, held_by: Holder::Lease(*lease) })
        }
        TaskWrite::Insert { .. } | TaskWrite::Move { .. } | TaskWrite::Delete { .. } => None,
    });
    let done = Batch { tasks: done.collect(), ..Batch::default() };
    let batch = Batch { entries: entries(survey.head, &jobs)?, tasks, ..Batch::default() };
    let head = batch
        .entries
        .last()
        .map_or(survey.head, |entry| Head { position: entry.recorded.position, hash: entry.recorded.hash });
    let started = Instant::now();
    if locked {
        writer.lock().await?;
    }
    writer.commit(survey.head, &batch).await?;
    let took = started.elapsed();
    writer.commit(head, &done).await?;
    Ok(took)
}

fn entries(head: Head, jobs: &[JobId]) -> Result<Vec<Entry>, Box<dyn Error>> {
    let mut position = head.position;
    let entry = |job: &JobId| {
        position = position.next();
        let event = Event::JobCancelled(JobCancelled { reason: Some("x".repeat(400)) });
        let encoded = quillwork_domain::wire::encode(&event)?;
        let meta = Meta {
            actor: "client".into(),
            tenant: "default".into(),
            correlation_id: job.0,
            causation_id: None,
            traceparent: None,
        };
        let recorded = Recorded {
            position,
            stream: (*job).into(),
            version: Version(1),
            event_id: Uuid::now_v7(),
            kind: encoded.kind.into(),
            schema_version: encoded.schema_version,
            data: encoded.data,
            meta,
            recorded_at: clock::now(),
            hash: Sha256Digest::of(position.0.to_string().as_bytes()),
        };
        Ok(Entry { recorded, event })
    };
    jobs.iter().map(entry).collect()
}
