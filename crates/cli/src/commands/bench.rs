//! `bench`: load a running server and report latencies and throughput.
//!
//! Clients hold one keep-alive connection each. A closed loop sends the next request when the answer is there; with
//! `--rate` requests start on schedule, and what waits for a free connection waits on the clock. Completions are read
//! from the server's event stream, so that the end of a job is known when its event is.

mod collect;
mod completions;
mod connection;
mod load;
mod report;

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cli::Globals;
use crate::client::ServerArgs;
use crate::exit::{FAILED, Usage};
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// How many jobs to submit.
    #[arg(long, short = 'n', default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    jobs: u64,
    /// How many connections submit at once.
    #[arg(long, short = 'c', default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Jobs in a request.
    #[arg(long, short = 'b', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    batch: u32,
    /// Jobs per second, on schedule; absent for as fast as the clients get answers.
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
        Ok(_) | Err(_) => Err("expected a number of jobs per second above 0".to_owned()),
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
    let target = connection::Target::new(&server).ok_or_else(|| {
        Usage("bench speaks plain HTTP: name a server such as http://127.0.0.1:7070".into())
    })?;
    let stats: Stats = server.get(server.url(&["v1", "stats"])).await?;

    let (notes, mut inbox) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(completions::follow(target.clone(), stats.head, notes.clone()));
    let load = |jobs| load::Load {
        target: target.clone(),
        pipeline: args.pipeline.clone(),
        jobs,
        clients: args.clients as usize,
        batch: u64::from(args.batch),
        rate: args.rate,
    };
    if args.warm_up > 0 {
        load::start(load(args.warm_up), &notes, &mut tasks);
        collect::collect(&mut inbox, args.warm_up, args.patience).await;
    }
    load::start(load(args.jobs), &notes, &mut tasks);
    let measured = collect::collect(&mut inbox, args.jobs, args.patience).await;
    tasks.abort_all();

    let report = report::Report::new(&args, &server.name(), &measured);
    if globals.json {
        output::json(&report)?;
    } else {
        report.print()?;
    }
    Ok(if report.jobs_completed == args.jobs { 0 } else { FAILED })
}
