//! What a row costs. Run by hand, in release:
//! `cargo test --release -p quillwork-projections timing -- --ignored --nocapture`

use std::time::Instant;

use quillwork_app::ports::store::Entry;
use quillwork_domain::id::JobId;
use uuid::Uuid;

use super::history::{History, Step};
use crate::projector::Tables;

const N_JOBS: u128 = 20_000;

#[tokio::test]
#[ignore = "a measurement"]
async fn timing() {
    let mut history = History::default();
    // 200 jobs in flight at a time, two stages each: six events a job.
    let ids: Vec<_> = (0..N_JOBS).map(|n| JobId(Uuid::from_u128((0x0190 << 112) + (n << 8) + 1))).collect();
    for chunk in ids.chunks(200) {
        let submit = Step::Submit { run_at: None, labels: false };
        for step in [submit, Step::Start, Step::Complete, Step::Start, Step::Complete] {
            for id in chunk {
                history.step(*id, step.clone());
            }
        }
    }
    let n_events = history.entries.len();
    assert_eq!(n_events as u128, N_JOBS * 6);
    for batch in [50, 400, 2_000, 8_192] {
        let folder = tempfile::tempdir().unwrap();
        let mut tables = Tables::open(&folder.path().join("read.db")).await.unwrap();
        let (started, cpu) = (Instant::now(), cpu_ticks());
        let mut n_rows = 0;
        for entries in history.entries.chunks(batch) {
            let pages: Vec<&[Entry]> = vec![entries];
            n_rows += tables.project(&pages).await.unwrap();
        }
        let wall = started.elapsed();
        let cpu_us = (cpu_ticks() - cpu) as f64 * 10_000.0;
        println!(
            "batch {batch}: {n_rows} rows, wall {:.1} us/row, cpu {:.1} us/row, cpu {:.1} us/job, {:.2} us/event",
            wall.as_secs_f64() * 1e6 / n_rows as f64,
            cpu_us / n_rows as f64,
            cpu_us / N_JOBS as f64,
            cpu_us / n_events as f64,
        );
    }
}

/// User and system time of this process, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    field(11) + field(12)
}
