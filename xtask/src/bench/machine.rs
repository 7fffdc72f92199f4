//! On what the figures were made.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use quillwork_test_servers::Postgres;
use serde::Serialize;

use super::accounts::Look;

/// How long is looked at what else the machine does.
const LOOK: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// As `2026-11-20 14:05`, UTC.
    pub(super) started: String,
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
    /// Of the folder of all data.
    pub(super) file_system: String,
    pub(super) quillwork: String,
    /// The commit, with a mark if something was changed since.
    pub(super) commit: String,
    pub(super) rustc: String,
    /// None if it was not measured.
    pub(super) postgres: Option<String>,
    /// Share of all cores that were busy before the run, 0 to 1.
    pub(super) other_load: f64,
    /// The load averages before the run, as the kernel writes them.
    pub(super) load_averages: String,
}

impl Machine {
    /// Looks at the machine for some seconds, so that what else it does is known.
    pub(super) fn look(binary: &Path, postgres: Option<&Postgres>) -> Result<Self> {
        let before = Look::now()?;
        thread::sleep(LOOK);
        let other_load = Look::now()?.since(&before).busy;
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let averages = read("/proc/loadavg");
        let dirty = if said("git", &["status", "--porcelain"]).is_empty() { "" } else { ", with changes" };
        let binary = binary.to_string_lossy();
        Ok(Self {
            started: said("date", &["-u", "+%Y-%m-%d %H:%M"]),
            cpu: after_colon(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: thread::available_parallelism()?.get(),
            memory_mib: memory_mib(&read("/proc/meminfo")),
            kernel: read("/proc/sys/kernel/osrelease"),
            file_system: file_system(),
            quillwork: said(&binary, &["--version"]),
            commit: format!("{}{dirty}", said("git", &["rev-parse", "--short", "HEAD"])),
            rustc: said("rustc", &["--version"]),
            postgres: postgres
                .map(|server| format!("PostgreSQL {}", server.psql("postgres", "SHOW server_version"))),
            other_load,
            load_averages: averages.split(' ').take(3).collect::<Vec<_>>().join(" "),
        })
    }
}

/// A disk that is none would make every figure about durability a lie.
pub(super) fn require_disk() -> Result<()> {
    let place = std::env::temp_dir();
    if matches!(file_system().as_str(), "tmpfs" | "ramfs") {
        bail!(
            "{} is in memory, and the figures are about durability: name a folder on a disk with TMPDIR",
            place.display()
        );
    }
    Ok(())
}

fn file_system() -> String {
    said("stat", &["--file-system", "--format=%T", &std::env::temp_dir().to_string_lossy()])
}

/// What a program says on its one line; nothing if it cannot be run.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn after_colon(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn memory_mib(meminfo: &str) -> u64 {
    let total = after_colon(meminfo, "MemTotal").unwrap_or_default();
    total.trim_end_matches("kB").trim().parse::<u64>().unwrap_or_default() / 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A CPU: fast\nprocessor\t: 1\nmodel name\t: B\n";
        assert_eq!(after_colon(cpuinfo, "model name").as_deref(), Some("A CPU: fast"));
        assert_eq!(memory_mib("MemTotal:       24683724 kB\nMemFree: 1 kB\n"), 24_105);
    }
}
