//! What the disk and SQLite can do at most, to hold the figures of `quillwork bench` against.
//!
//! `cargo run --release -p quillwork-store --example raw_limits -- DIR` writes to DIR for about eight seconds.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

const SPAN: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: raw_limits DIR")?;
    let dir = Path::new(&dir).join("raw-limits");
    std::fs::create_dir_all(&dir)?;
    println!("fdatasync of 4 KiB, overwriting  {:>10.0} /s", syncs(&dir)?);
    for rows in [1, 100, 1_000] {
        println!("SQLite rows, {rows:>4} a commit        {:>10.0} /s", inserts(&dir, rows)?);
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Durable overwrites of one page per second.
fn syncs(dir: &Path) -> Result<f64, Box<dyn Error>> {
    let mut file = File::create(dir.join("page"))?;
    per_second(|| {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[7; 4_096])?;
        file.sync_data()?;
        Ok(1)
    })
}

/// Rows per second in durable commits of `rows` rows, with the settings of the log.
fn inserts(dir: &Path, rows: u64) -> Result<f64, Box<dyn Error>> {
    let conn = Connection::open(dir.join(format!("{rows}.db")))?;
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-8192;
         CREATE TABLE rows (position INTEGER PRIMARY KEY, stream BLOB, data BLOB) STRICT;",
    )?;
    let data = [7_u8; 600];
    let mut position = 0_u64;
    per_second(|| {
        let tx = conn.unchecked_transaction()?;
        let mut insert = tx.prepare_cached("INSERT INTO rows VALUES (?1, ?2, ?3)")?;
        for _ in 0..rows {
            position += 1;
            insert.execute(params![position, &data[..16], &data[..]])?;
        }
        drop(insert);
        tx.commit()?;
        Ok(rows)
    })
}

fn per_second(mut work: impl FnMut() -> Result<u64, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let mut n = 0;
    while started.elapsed() < SPAN {
        n += work()?;
    }
    Ok(n as f64 / started.elapsed().as_secs_f64())
}
