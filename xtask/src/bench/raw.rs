//! What the disk, SQLite and PostgreSQL can do by themselves, to hold our figures against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use quillwork_test_servers::Postgres;

use super::figures::RawLimit;

/// Rows of the log are about as long.
const ROW_BYTES: u32 = 600;

/// What is measured on a PostgreSQL, with `pgbench`: rows in a commit, and clients.
const LOADS: [(u32, u32); 4] = [(1, 1), (1, 16), (100, 1), (1_000, 1)];

/// What measures the raw limits.
pub(super) struct Raw<'a> {
    /// The example `raw_limits` of the store.
    pub(super) program: &'a Path,
    pub(super) postgres: Option<&'a Postgres>,
    /// How long each load of PostgreSQL takes.
    pub(super) span: Duration,
}

impl Raw<'_> {
    /// Names and what there is of it in a second.
    pub(super) fn measure(&self) -> Result<Vec<(String, f64)>> {
        let directory = tempfile::tempdir().context("cannot make a folder for the data")?;
        let output = Command::new(self.program).arg(directory.path()).output();
        let output = output.with_context(|| format!("cannot run {}", self.program.display()))?;
        if !output.status.success() {
            bail!("{} failed: {}", self.program.display(), String::from_utf8_lossy(&output.stderr));
        }
        let mut limits = read(&String::from_utf8_lossy(&output.stdout))?;
        if let Some(postgres) = self.postgres {
            limits.extend(self.pgbench(postgres, directory.path())?);
        }
        Ok(limits)
    }

    fn pgbench(&self, postgres: &Postgres, directory: &Path) -> Result<Vec<(String, f64)>> {
        let database = postgres.database();
        postgres.psql(
            database.name(),
            "CREATE TABLE raw (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, data bytea)",
        );
        let program = Postgres::client("pgbench");
        let mut limits = Vec::new();
        for (rows, clients) in LOADS {
            let script = directory.join("raw.sql");
            fs::write(&script, insert(rows)).context("cannot write the script of pgbench")?;
            let tps = self.tps(&program, &script, clients, database.url())?;
            limits.push((name(rows, clients), tps * f64::from(rows)));
        }
        Ok(limits)
    }

    fn tps(&self, program: &PathBuf, script: &Path, clients: u32, url: &str) -> Result<f64> {
        let mut command = Command::new(program);
        command.args(["--no-vacuum", "--protocol=prepared", "--jobs=1"]);
        command.arg(format!("--client={clients}")).arg(format!("--time={}", self.span.as_secs().max(1)));
        command.arg("--file").arg(script).arg(url);
        let output = command.output().context("cannot run pgbench")?;
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        tps(&stdout).with_context(|| format!("pgbench failed: {stdout}{stderr}"))
    }
}

/// What was measured before and after, side by side.
pub(super) fn pair(before: Vec<(String, f64)>, after: &[(String, f64)]) -> Vec<RawLimit> {
    let pairs = before.into_iter().filter_map(|(name, before)| {
        let (_, after) = after.iter().find(|(other, _)| *other == name)?;
        Some(RawLimit { name, before, after: *after })
    });
    pairs.collect()
}

fn insert(rows: u32) -> String {
    let data = format!("decode(repeat('07', {ROW_BYTES}), 'hex')");
    format!("INSERT INTO raw (data) SELECT {data} FROM generate_series(1, {rows});\n")
}

fn name(rows: u32, clients: u32) -> String {
    let clients = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
    format!("PostgreSQL rows, {rows} a commit, {clients}")
}

/// Of `pgbench`.
fn tps(output: &str) -> Option<f64> {
    output.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok())
}

/// Of `raw_limits`: lines such as `SQLite rows,  100 a commit   240719 /s`.
fn read(output: &str) -> Result<Vec<(String, f64)>> {
    let line = |line: &str| {
        let (name, value) = line.strip_suffix("/s")?.trim_end().rsplit_once(' ')?;
        Some((name.split_whitespace().collect::<Vec<_>>().join(" "), value.parse().ok()?))
    };
    let limits = output.lines().map(|text| line(text).with_context(|| format!("not a raw limit: {text:?}")));
    limits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_limits_are_read() {
        let output = "fdatasync of 4 KiB, overwriting       10028 /s\nSQLite rows,    1 a commit              7594 /s\n";
        assert_eq!(
            read(output).unwrap(),
            [
                ("fdatasync of 4 KiB, overwriting".to_owned(), 10_028.0),
                ("SQLite rows, 1 a commit".to_owned(), 7_594.0)
            ]
        );
        assert!(read("disk full\n").is_err());
    }

    #[test]
    fn the_rate_of_pgbench_is_read() {
        let output = "number of failed transactions: 0 (0.000%)\nlatency average = 0.2 ms\ninitial connection time = 3.1 ms\ntps = 4557.123456 (without initial connection time)\n";
        assert_eq!(tps(output), Some(4_557.123_456));
        assert_eq!(tps("pgbench: error: connection refused"), None);
    }

    #[test]
    fn limits_stand_side_by_side() {
        let before = vec![("a".to_owned(), 1.0), ("b".to_owned(), 2.0)];
        let pairs = pair(before, &[("b".to_owned(), 4.0), ("a".to_owned(), 3.0)]);
        assert_eq!(pairs[0], RawLimit { name: "a".into(), before: 1.0, after: 3.0 });
        assert_eq!(pairs[1], RawLimit { name: "b".into(), before: 2.0, after: 4.0 });
    }

    #[test]
    fn loads_are_named_by_what_they_are() {
        assert_eq!(
            LOADS.map(|(rows, clients)| name(rows, clients))[1],
            "PostgreSQL rows, 1 a commit, 16 clients"
        );
        assert!(insert(100).contains("generate_series(1, 100)"));
    }
}
