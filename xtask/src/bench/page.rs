//! The generated part of `docs/benchmarks.md`. What stands around it is written by hand and stays.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::figures::{Figures, JobRun, Runs, StoreFigures, Stored};
use super::generator::Queries;
use super::number::Rounding::{Down, Up};
use super::number::whole;
use super::targets::{self, CONNECTIONS};

const BEGIN: &str = "<!-- Written by `cargo xtask bench`; do not edit from here … -->";
const END: &str = "<!-- … to here. -->";

/// A machine that does more than this besides is not idle.
const IDLE: f64 = 0.05;

/// The page with its generated part replaced.
pub(super) fn replace(page: &str, generated: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.with_context(|| format!("the page lacks the lines {BEGIN:?} and {END:?}"))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", generated.trim()))
}

/// The generated part.
pub(super) fn render(figures: &Figures) -> String {
    let mut page = String::new();
    section(&mut page, "", &circumstances(figures));
    let judged = "Of measurements that were made several times the median counts.\n\n";
    section(&mut page, "Targets", &format!("{judged}{}", targets::render(figures)));
    section(
        &mut page,
        "Throughput",
        &format!(
            "Single submissions as fast as answers come, by connections.\n\n\
             ![Completed jobs per second against connections](benchmarks/throughput.svg)\n\n{}\n{}",
            throughput(figures),
            batches(figures)
        ),
    );
    section(
        &mut page,
        "Latency",
        &format!(
            "Single submissions on a schedule, counted from the schedule.\n\n\
             ![Time from submission to completion against the rate](benchmarks/latency.svg)\n\n{}",
            latency(figures)
        ),
    );
    section(&mut page, "Cost of a job", &cost(figures));
    section(&mut page, "Status queries", &queries(figures));
    section(&mut page, "Replay", &replay(figures));
    if !figures.fleets.is_empty() {
        section(&mut page, "Several processes on one PostgreSQL", &fleets(figures));
    }
    if let Some(measured) = &figures.stored {
        section(&mut page, "With many jobs stored", &stored(measured));
    }
    section(&mut page, "Raw limits", &raw(figures));
    page
}

fn section(page: &mut String, heading: &str, text: &str) {
    if !heading.is_empty() {
        page.push_str(&format!("### {heading}\n\n"));
    }
    page.push_str(text.trim_end());
    page.push_str("\n\n");
}

fn circumstances(figures: &Figures) -> String {
    let machine = &figures.machine;
    let mut text = format!(
        "{}, UTC, one run of {} minutes: {}, {} cores, {} GiB of memory, Linux {}, data on {}.\n",
        machine.started,
        Up.show(figures.minutes),
        machine.cpu,
        machine.cores,
        Down.show(machine.memory_mib as f64 / 1_024.0),
        machine.kernel,
        machine.file_system,
    );
    let mut versions = format!("{} ({}), {}", machine.quillwork, machine.commit, machine.rustc);
    if let Some(postgres) = &machine.postgres {
        let _ = write!(versions, ", {postgres} with the settings of initdb, over TCP on the loopback");
    }
    text.push_str(&format!("{versions}.\n"));
    text.push_str(
        "The load generator, the server and PostgreSQL share these cores, and every measurement has a new store.\n",
    );
    let percent = |share: f64| Up.show(share * 100.0);
    text.push_str(&format!(
        "Other programs kept the cores {} % busy before the run (load averages {}) and {} % after it; other virtual machines took {} % of the CPU time during it.\n",
        percent(figures.machine.other_load),
        machine.load_averages,
        percent(figures.other_load_after),
        percent(figures.stolen),
    ));
    if figures.machine.other_load.max(figures.other_load_after).max(figures.stolen) > IDLE {
        text.push_str("**So the machine was not idle, and the figures are not those of an idle one.**\n");
    }
    if figures.quick {
        text.push_str("**This was a quick run, for trying: each figure is that of a second or so.**\n");
    }
    text
}

fn throughput(figures: &Figures) -> String {
    let rows = figures.stores.iter().flat_map(|store| {
        store.single.iter().map(|runs| {
            let run = runs.median();
            let mut row = vec![store.store.name().to_owned(), run.jobs.clients.to_string(), rates_of(runs)];
            row.extend(latencies(run));
            row
        })
    });
    table(
        &["store", "connections", "jobs/s", "submit p50 / p99 ms", "submit to completed p50 / p99 ms"],
        rows.collect(),
    )
}

fn batches(figures: &Figures) -> String {
    let rows = figures.stores.iter().map(|store| {
        let run = store.batches.median();
        let mut row =
            vec![store.store.name().to_owned(), run.jobs.clients.to_string(), rates_of(&store.batches)];
        row.extend(latencies(run));
        row
    });
    table(
        &[
            "batches of 100",
            "connections",
            "jobs/s",
            "submit p50 / p99 ms",
            "submit to completed p50 / p99 ms (of a queue)",
        ],
        rows.collect(),
    )
}

/// The median, and the range if there is one.
fn rates_of(runs: &Runs) -> String {
    let rate = |run: &JobRun| Down.show(run.jobs.jobs_per_second);
    match runs.len() {
        1 => rate(runs.median()),
        _ => format!("{} ({}–{})", rate(runs.median()), rate(runs.slowest()), rate(runs.fastest())),
    }
}

fn latencies(run: &JobRun) -> [String; 2] {
    [run.jobs.submit_ms, run.jobs.end_to_end_ms]
        .map(|latency| format!("{} / {}", Up.show(latency.p50), Up.show(latency.p99)))
}

fn latency(figures: &Figures) -> String {
    let rows = figures.stores.iter().flat_map(|store| {
        store.rates.iter().map(|run| {
            let mut row = vec![store.store.name().to_owned(), whole(run.jobs.rate.unwrap_or_default())];
            row.extend(latencies(run));
            let schedule = run.jobs.schedule;
            row.push(schedule.map(|kept| whole(kept.overdue as f64)).unwrap_or_default());
            row.push(schedule.map(|kept| Up.show(kept.timer_late_ms.p99)).unwrap_or_default());
            row
        })
    });
    let table = table(
        &[
            "store",
            "jobs/s",
            "submit p50 / p99 ms",
            "submit to completed p50 / p99 ms",
            "overdue",
            "timer late p99 ms",
        ],
        rows.collect(),
    );
    format!(
        "{table}\nRequests that found no free connection in time are *overdue* and count from when they were due; *timer late* is the generator's own lateness and no part of the latencies.\n"
    )
}

fn cost(figures: &Figures) -> String {
    let row = |store: &StoreFigures, load: String, run: &JobRun| {
        let cost = &run.cost;
        let cpu = match cost.database_cpu_micros {
            Some(database) => format!("{} + {}", Up.show(cost.server_cpu_micros), Up.show(database)),
            None => Up.show(cost.server_cpu_micros),
        };
        vec![
            store.store.name().to_owned(),
            load,
            cpu,
            Up.show(cost.commits),
            whole(cost.data_bytes.ceil()),
            whole(cost.wal_bytes.ceil()),
            format!("{} / {}", Up.show(cost.peak_pss_mb), Up.show(cost.peak_rss_mb)),
        ]
    };
    let mut rows = Vec::new();
    for store in &figures.stores {
        if let Some(runs) = store.single(CONNECTIONS) {
            rows.push(row(store, format!("single, {CONNECTIONS} connections"), runs.median()));
        }
        rows.push(row(store, "batches of 100".into(), store.batches.median()));
        if let Some(run) = store.rates.first() {
            rows.push(row(store, "20 jobs/s".into(), run));
        }
    }
    let table = table(
        &[
            "store",
            "load",
            "CPU µs (server + PostgreSQL)",
            "event commits",
            "data growth, bytes",
            "write-ahead log, bytes",
            "peak PSS / RSS, MB",
        ],
        rows,
    );
    format!(
        "All but memory per completed job.\n\
         With SQLite the growth is that of the data directory while the server runs, write-ahead logs included, and the next column says how much of it they are.\n\
         With PostgreSQL it is the database's, and the next column is what was written to the write-ahead log, which is used again.\n\n{table}"
    )
}

fn queries(figures: &Figures) -> String {
    let mut rows = Vec::new();
    for store in &figures.stores {
        let busy = format!("{} jobs/s run", whole(store.queries.busy_rate));
        for (name, queries) in [("nothing else runs", &store.queries.idle), (&*busy, &store.queries.busy)] {
            let Queries { clients, queries_per_second, query_ms, .. } = queries;
            rows.push(vec![
                store.store.name().to_owned(),
                name.to_owned(),
                clients.to_string(),
                Down.show(*queries_per_second),
                format!("{} / {}", Up.show(query_ms.p50), Up.show(query_ms.p99)),
            ]);
        }
    }
    let table = table(&["store", "while", "connections", "queries/s", "p50 / p99 ms"], rows);
    format!("`GET /v1/jobs/{{id}}` for one after the other of the newest 20,000 jobs.\n\n{table}")
}

fn replay(figures: &Figures) -> String {
    let rows = figures.stores.iter().map(|store| {
        let replay = store.replay;
        vec![
            store.store.name().to_owned(),
            whole(replay.events as f64),
            Down.show(replay.fold),
            Down.show(replay.read_models),
            Down.show(replay.audit),
        ]
    });
    let table = table(
        &["store", "events", "`rebuild --only-queue`", "`rebuild --only-read-models`", "`audit verify`"],
        rows.collect(),
    );
    format!("Events per second of the whole process, from its start to its end; medians of three.\n\n{table}")
}

fn fleets(figures: &Figures) -> String {
    let rows = figures.fleets.iter().map(|fleet| {
        let run = fleet.runs.median();
        let mut row = vec![fleet.roles.len().to_string(), fleet.roles.join(", "), rates_of(&fleet.runs)];
        row.extend(latencies(run));
        row.push(Up.show(run.cost.cpu_micros()));
        row
    });
    let table = table(
        &[
            "processes",
            "roles",
            "jobs/s",
            "submit p50 / p99 ms",
            "submit to completed p50 / p99 ms",
            "CPU µs per job, all",
        ],
        rows.collect(),
    );
    format!("Single submissions over {CONNECTIONS} connections to the first process.\n\n{table}")
}

fn stored(Stored { jobs, empty, filled }: &Stored) -> String {
    let rows = [("empty", empty), ("filled", filled)].map(|(name, runs)| {
        let run = runs.median();
        let mut row = vec![name.to_owned(), rates_of(runs)];
        row.extend(latencies(run));
        row.push(Up.show(run.cost.cpu_micros()));
        row
    });
    let header =
        ["store", "jobs/s", "submit p50 / p99 ms", "submit to completed p50 / p99 ms", "CPU µs per job, all"];
    format!(
        "Single submissions over {CONNECTIONS} connections to one process on PostgreSQL, to an empty store and to one with {} finished jobs in turns.\nThe jobs are copies of one real job that were made by SQL, then vacuumed and analyzed.\n\n{}",
        whole(*jobs as f64),
        table(&header, rows.into())
    )
}

fn raw(figures: &Figures) -> String {
    let rows = figures
        .raw
        .iter()
        .map(|limit| vec![limit.name.clone(), Down.show(limit.before), Down.show(limit.after)]);
    let table = table(&["per second", "before", "after"], rows.collect());
    format!(
        "What the disk and the databases do by themselves, before and after all the rest.\nSQLite and PostgreSQL insert rows of 600 bytes, PostgreSQL by `pgbench`; each commit is durable.\n\n{table}"
    )
}

/// A table in Markdown. What begins with a digit or stands after such a column's name is a number, and right-aligned.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let is_number = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        !rows.is_empty()
            && cells.clone().all(|cell| cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit()))
    };
    let rule: Vec<&str> =
        (0..header.len()).map(|column| if is_number(column) { "--:" } else { "---" }).collect();
    let mut table = format!("| {} |\n|{}|\n", header.join(" | "), rule.join("|"));
    for row in &rows {
        table.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    table
}

#[cfg(test)]
pub(super) mod tests;
