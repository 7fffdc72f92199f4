//! `bench`: load a running server and report latencies and throughput.
//!
//! Clients hold one keep-alive connection each. A closed loop sends the next request when the answer is there; with
//! `--rate` requests start on schedule, and what waits for a free connection waits on the clock. Completions are read
//! from the server's event stream, so that the end of a job is known when its event is. With `--queries` the clients ask
//! for jobs instead of submitting any.

mod client;
mod collect;
mod completions;
mod connection;
mod early;
mod histogram;
mod query;
mod report;
mod schedule;
mod submit;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use client::{Load, Work};
use collect::collect;
use connection::Target;
use report::{JobReport, QueryReport};
use schedule::Schedule;

use crate::cli::Globals;
use crate::client::{Server, ServerArgs};
use crate::exit::{FAILED, Usage};
use crate::output;

/// Notes that may wait to be put together. A client that has another one waits.
const MAX_NOTES: usize = 1_024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// How many jobs to submit.
    #[arg(long, short = 'n', default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    jobs: u64,
    /// How many connections send requests at once.
    #[arg(long, short = 'c', default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Jobs in a request.
    #[arg(long, short = 'b', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    batch: u32,
    /// Ask for the status of jobs that the server has, so many times, and submit none.
    #[arg(long, value_name = "N", conflicts_with_all = ["jobs", "batch", "pipeline", "warm_up"], value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    queries: Option<u64>,
    /// Jobs (or queries) per second, on schedule; absent for as fast as the clients get answers.
    #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
    rate: Option<f64>,
    /// What the jobs go through.
    #[arg(long, default_value = "echo")]
    pipeline: String,
    /// Jobs to run before the measurement.
    #[arg(long, default_value_t = 0)]
    warm_up: u64,
    /// Give up when nothing happens for this long.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_patience)]
    patience: Duration,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        Ok(_) | Err(_) => Err("expected a number per second above 0".to_owned()),
    }
}

fn parse_patience(text: &str) -> Result<Duration, String> {
    text.parse::<crate::config::Span>().map(|span| span.0).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct Stats {
    head: u64,
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let server = args.server.server()?;
    let target = Target::new(&server).ok_or_else(|| {
        Usage("bench speaks plain HTTP: name a server such as http://127.0.0.1:7070".into())
    })?;
    if let Some(queries) = args.queries {
        return ask(globals, &args, &server, target, queries).await;
    }
    let stats: Stats = server.get(server.url(&["v1", "stats"])).await?;

    let (notes, mut inbox) = mpsc::channel(MAX_NOTES);
    let mut tasks = JoinSet::new();
    tasks.spawn(completions::follow(target.clone(), stats.head, notes.clone()));
    let batch = u64::from(args.batch);
    let n_in_flight = args.clients as usize * args.batch as usize;
    let load = |jobs| Load {
        target: target.clone(),
        work: Work::Submit { pipeline: args.pipeline.clone(), batch },
        clients: args.clients as usize,
        schedule: Schedule::new(jobs, batch, args.rate),
    };
    if args.warm_up > 0 {
        client::start(load(args.warm_up), &notes, &mut tasks);
        collect(&mut inbox, args.warm_up, n_in_flight, args.patience).await;
    }
    client::start(load(args.jobs), &notes, &mut tasks);
    let measured = collect(&mut inbox, args.jobs, n_in_flight, args.patience).await;
    tasks.abort_all();

    let report = JobReport::new(&args, &server.name(), &measured);
    if globals.json {
        output::json(&report)?;
    } else {
        report.print()?;
    }
    Ok(if report.is_good() { 0 } else { FAILED })
}

async fn ask(
    globals: &Globals,
    args: &Args,
    server: &Server,
    target: Target,
    queries: u64,
) -> anyhow::Result<u8> {
    let jobs = query::jobs(server).await?;
    let n_jobs = jobs.len();
    let (notes, mut inbox) = mpsc::channel(MAX_NOTES);
    let mut tasks = JoinSet::new();
    let load = Load {
        target,
        work: Work::Query(jobs),
        clients: args.clients as usize,
        schedule: Schedule::new(queries, 1, args.rate),
    };
    client::start(load, &notes, &mut tasks);
    let measured = collect(&mut inbox, queries, 0, args.patience).await;
    tasks.abort_all();

    let report = QueryReport::new(args, queries, n_jobs, &server.name(), &measured);
    if globals.json {
        output::json(&report)?;
    } else {
        report.print()?;
    }
    Ok(if report.is_good() { 0 } else { FAILED })
}
