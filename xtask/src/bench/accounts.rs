//! What processes cost, from `/proc`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Clock ticks of `/proc` in a second: the same on every Linux that Rust runs on.
const TICKS: u64 = 100;

/// CPU time of a process in microseconds, without children.
pub(super) fn cpu_micros(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("the process {pid} is gone"))?;
    times(&stat).map(|times| times.own).with_context(|| format!("/proc/{pid}/stat is not what was expected"))
}

/// CPU time in microseconds of a process and all children that it ever had.
pub(super) fn cpu_micros_of_family(parent: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{parent}/stat"))
        .with_context(|| format!("the process {parent} is gone"))?;
    let times = times(&stat).with_context(|| format!("/proc/{parent}/stat is not what was expected"))?;
    let living: u64 = children(parent).into_iter().filter_map(|child| cpu_micros(child).ok()).sum();
    Ok(times.own + times.of_dead_children + living)
}

struct Times {
    own: u64,
    of_dead_children: u64,
    parent: u32,
}

/// Of a line of `/proc/<pid>/stat`, whose second field is a name in parentheses with anything in it.
fn times(stat: &str) -> Option<Times> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |nth: usize| fields.get(nth)?.parse::<u64>().ok();
    let micros = |ticks: u64| ticks * 1_000_000 / TICKS;
    Some(Times {
        own: micros(ticks(11)? + ticks(12)?),
        of_dead_children: micros(ticks(13)? + ticks(14)?),
        parent: fields.get(1)?.parse().ok()?,
    })
}

fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        times(&stat).is_some_and(|times| times.parent == parent)
    };
    pids.filter(is_child).collect()
}

/// The proportional set size in kB: memory that is shared counts in parts. None once the process is gone.
pub(super) fn pss_kb(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// The most that was ever resident, in kB. None once the process is gone.
pub(super) fn peak_rss_kb(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Bytes of the files in a directory and below whose names end so; of all if the end is empty.
pub(super) fn bytes(directory: &Path, end: &str) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes(&entry.path(), end),
            Ok(data) if entry.file_name().to_string_lossy().ends_with(end) => data.len(),
            // A file may go while we look.
            Ok(_) | Err(_) => 0,
        })
        .sum()
}

/// Share of all cores that was not idle, and that another virtual machine had, between two looks at `/proc/stat`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    pub(super) busy: f64,
    pub(super) stolen: f64,
}

/// A look at the first line of `/proc/stat`.
#[derive(Clone, Debug)]
pub(super) struct Look(Vec<u64>);

impl Look {
    pub(super) fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Ok(Self::of(&stat))
    }

    fn of(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        Self(line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect())
    }

    /// What happened since an earlier look.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a machine's life fit")]
    pub(super) fn since(&self, earlier: &Self) -> Load {
        // user nice system idle iowait irq softirq steal; what follows is part of user.
        let grown = |nth: usize| {
            let at = |look: &Self| look.0.get(nth).copied().unwrap_or_default();
            at(self).saturating_sub(at(earlier)) as f64
        };
        let all: f64 = (0..8).map(grown).sum();
        let share = |part: f64| if all > 0.0 { part / all } else { 0.0 };
        Load { busy: share(all - grown(3) - grown(4)), stolen: share(grown(7)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a ) b (c) S 7 42 42 0 -1 4194560 10 20 0 0 150 50 30 4 20 0 5 0 100 1 1";
        let times = times(stat).unwrap();
        assert_eq!((times.own, times.of_dead_children, times.parent), (2_000_000, 340_000, 7));
        assert!(super::times("42 (x) S").is_none());
    }

    #[test]
    fn memory_is_read() {
        let text = "55d0-7ffc ---p 00000000 00:00 0  [rollup]\nRss:   9000 kB\nPss:       8123 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(kilobytes(text, "Pss:"), Some(8_123));
        assert_eq!(kilobytes("VmPeak:\t 5 kB\nVmHWM:\t   777 kB\n", "VmHWM:"), Some(777));
        assert_eq!(kilobytes(text, "Swap:"), None);
    }

    #[test]
    fn the_machine_is_busy_when_it_is_not_idle() {
        let before = Look::of("cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 1 1 1 1\n");
        let after = Look::of("cpu  130 0 110 1040 10 0 0 10 0 0\n");
        assert_eq!(after.since(&before), Load { busy: 0.5, stolen: 0.1 });
        assert_eq!(before.since(&before), Load { busy: 0.0, stolen: 0.0 });
    }

    #[test]
    fn files_are_weighed_by_their_end() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("log.db"), [0; 100]).unwrap();
        fs::write(dir.path().join("deep/log.db-wal"), [0; 7]).unwrap();
        assert_eq!((bytes(dir.path(), ""), bytes(dir.path(), "-wal")), (107, 7));
    }
}
