use super::super::figures::{Cost, Fleet, QueryFigures, RawLimit, Replay, Store};
use super::super::generator::{Jobs, Latency, Schedule};
use super::super::machine::Machine;
use super::*;

fn run(clients: u32, batch: u32, rate: Option<f64>, jobs_per_second: f64) -> JobRun {
    JobRun {
        jobs: Jobs {
            clients,
            batch,
            rate,
            jobs_completed: 1_000,
            jobs_per_second,
            submit_ms: Latency { p50: 5.0, p99: 19.96, max: 40.0 },
            end_to_end_ms: Latency { p50: 2.5, p99: 36.0, max: 80.0 },
            schedule: rate
                .map(|_| Schedule { overdue: 3, timer_late_ms: Latency { p50: 0.4, p99: 1.125, max: 2.0 } }),
        },
        cost: Cost {
            server_cpu_micros: 88.2,
            database_cpu_micros: None,
            commits: 0.04,
            data_bytes: 4_890.5,
            wal_bytes: 600.0,
            peak_pss_mb: 59.9,
            peak_rss_mb: 63.0,
        },
    }
}

/// Of SQLite, and of two fleets on PostgreSQL.
pub(in crate::bench) fn figures() -> Figures {
    let runs = |clients, batch, rates: &[f64]| {
        Runs::new(rates.iter().map(|rate| run(clients, batch, None, *rate)).collect()).unwrap()
    };
    let queries = |queries_per_second| Queries {
        clients: 32,
        queries_answered: 10,
        queries_per_second,
        query_ms: Latency { p50: 1.0, p99: 3.0, max: 9.0 },
    };
    let fleet = |roles: &[&str], rate| Fleet {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        runs: runs(64, 1, &[rate]),
    };
    Figures {
        machine: Machine {
            started: "2026-11-20 14:05".into(),
            cpu: "A CPU".into(),
            cores: 2,
            memory_mib: 24_105,
            kernel: "6.1.0".into(),
            file_system: "ext2/ext3".into(),
            quillwork: "quillwork 0.1.0".into(),
            commit: "abc1234".into(),
            rustc: "rustc 1.95.0".into(),
            postgres: None,
            other_load: 0.012,
            load_averages: "0.10 0.20 0.30".into(),
        },
        quick: false,
        minutes: 10.04,
        stolen: 0.0,
        other_load_after: 0.02,
        stores: vec![StoreFigures {
            store: Store::Sqlite,
            single: vec![runs(1, 1, &[1_300.0]), runs(64, 1, &[12_345.6, 11_000.0, 13_000.0])],
            batches: runs(8, 100, &[17_999.9]),
            rates: vec![run(16, 1, Some(20.0), 20.0)],
            queries: QueryFigures { idle: queries(25_000.5), busy: queries(19_000.0), busy_rate: 1_000.0 },
            replay: Replay { events: 600_000, fold: 1_200_000.0, read_models: 210_000.0, audit: 900_000.0 },
        }],
        stored: None,
        fleets: vec![fleet(&["up"], 5_000.0), fleet(&["up", "worker"], 4_500.0)],
        raw: vec![RawLimit {
            name: "fdatasync of 4 KiB, overwriting".into(),
            before: 10_028.0,
            after: 9_900.0,
        }],
    }
}

#[test]
fn the_page_is_rendered() {
    let page = render(&figures());
    // The targets have their own test.
    let (circumstances, rest) = page.split_once("### Targets").unwrap();
    let (_, figures) = rest.split_once("### Throughput").unwrap();
    assert_eq!(
        circumstances,
        "2026-11-20 14:05, UTC, one run of 10.1 minutes: A CPU, 2 cores, 23.5 GiB of memory, Linux 6.1.0, data on ext2/ext3.
quillwork 0.1.0 (abc1234), rustc 1.95.0.
The load generator, the server and PostgreSQL share these cores, and every measurement has a new store.
Other programs kept the cores 1.20 % busy before the run (load averages 0.10 0.20 0.30) and 2.00 % after it; other virtual machines took 0.000 % of the CPU time during it.

"
    );
    assert_eq!(
        figures,
        "

Single submissions as fast as answers come, by connections.

![Completed jobs per second against connections](benchmarks/throughput.svg)

| store | connections | jobs/s | submit p50 / p99 ms | submit to completed p50 / p99 ms |
|---|--:|--:|--:|--:|
| SQLite | 1 | 1,300 | 5.00 / 20.0 | 2.50 / 36.0 |
| SQLite | 64 | 12,345 (11,000–13,000) | 5.00 / 20.0 | 2.50 / 36.0 |

| batches of 100 | connections | jobs/s | submit p50 / p99 ms | submit to completed p50 / p99 ms (of a queue) |
|---|--:|--:|--:|--:|
| SQLite | 8 | 17,999 | 5.00 / 20.0 | 2.50 / 36.0 |

### Latency

Single submissions on a schedule, counted from the schedule.

![Time from submission to completion against the rate](benchmarks/latency.svg)

| store | jobs/s | submit p50 / p99 ms | submit to completed p50 / p99 ms | overdue | timer late p99 ms |
|---|--:|--:|--:|--:|--:|
| SQLite | 20 | 5.00 / 20.0 | 2.50 / 36.0 | 3 | 1.13 |

Requests that found no free connection in time are *overdue* and count from when they were due; *timer late* is the generator's own lateness and no part of the latencies.

### Cost of a job

All but memory per completed job.
With SQLite the growth is that of the data directory while the server runs, write-ahead logs included, and the next column says how much of it they are.
With PostgreSQL it is the database's, and the next column is what was written to the write-ahead log, which is used again.

| store | load | CPU µs (server + PostgreSQL) | event commits | data growth, bytes | write-ahead log, bytes | peak PSS / RSS, MB |
|---|---|--:|--:|--:|--:|--:|
| SQLite | single, 64 connections | 88.2 | 0.040 | 4,891 | 600 | 59.9 / 63.0 |
| SQLite | batches of 100 | 88.2 | 0.040 | 4,891 | 600 | 59.9 / 63.0 |
| SQLite | 20 jobs/s | 88.2 | 0.040 | 4,891 | 600 | 59.9 / 63.0 |

### Status queries

`GET /v1/jobs/{id}` for one after the other of the newest 20,000 jobs.

| store | while | connections | queries/s | p50 / p99 ms |
|---|---|--:|--:|--:|
| SQLite | nothing else runs | 32 | 25,000 | 1.00 / 3.00 |
| SQLite | 1,000 jobs/s run | 32 | 19,000 | 1.00 / 3.00 |

### Replay

Events per second of the whole process, from its start to its end; medians of three.

| store | events | `rebuild --only-queue` | `rebuild --only-read-models` | `audit verify` |
|---|--:|--:|--:|--:|
| SQLite | 600,000 | 1,200,000 | 210,000 | 900,000 |

### Several processes on one PostgreSQL

Single submissions over 64 connections to the first process.

| processes | roles | jobs/s | submit p50 / p99 ms | submit to completed p50 / p99 ms | CPU µs per job, all |
|--:|---|--:|--:|--:|--:|
| 1 | up | 5,000 | 5.00 / 20.0 | 2.50 / 36.0 | 88.2 |
| 2 | up, worker | 4,500 | 5.00 / 20.0 | 2.50 / 36.0 | 88.2 |

### Raw limits

What the disk and the databases do by themselves, before and after all the rest.
SQLite and PostgreSQL insert rows of 600 bytes, PostgreSQL by `pgbench`; each commit is durable.

| per second | before | after |
|---|--:|--:|
| fdatasync of 4 KiB, overwriting | 10,028 | 9,900 |

"
    );
}

#[test]
fn a_busy_machine_and_a_quick_run_are_confessed() {
    let mut figures = figures();
    assert!(!render(&figures).contains("not idle"));
    figures.other_load_after = 0.3;
    figures.quick = true;
    let page = render(&figures);
    assert!(page.contains("was not idle") && page.contains("a quick run"), "{page}");
}

#[test]
fn what_is_written_by_hand_stays() {
    let page = format!("# Benchmarks\n\nBy hand.\n\n{BEGIN}\nold\n{END}\n\nMore by hand.\n");
    let replaced = replace(&page, "new\n\n").unwrap();
    assert_eq!(replaced, format!("# Benchmarks\n\nBy hand.\n\n{BEGIN}\n\nnew\n\n{END}\n\nMore by hand.\n"));
    assert_eq!(replace(&replaced, "new").unwrap(), replaced);
    assert!(replace("# Benchmarks\n", "new").is_err());
}

#[test]
fn the_published_page_can_be_replaced() {
    let page = include_str!("../../../../docs/benchmarks.md");
    assert!(replace(page, "new").unwrap().contains("new"));
}
