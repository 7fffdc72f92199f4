//! A test process dies without a word; nothing of its servers may stay.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use quillwork_test_servers::{Postgres, Redis};
use tempfile::TempDir;

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Where the servers of a process to be killed put their directories; the user they run as may enter it.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

fn hold_servers(place: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hold-servers"))
        .env("TMPDIR", place)
        .env_remove("QUILLWORK_TEST_POSTGRES_URL")
        .env_remove("QUILLWORK_TEST_REDIS_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The pids of all processes that work below a directory.
fn working_in(place: &Path) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let works_there =
        |process: &PathBuf| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(place));
    processes.filter(works_there).collect()
}

fn await_nothing_left(place: &Path) {
    await_that("the directories are removed", || fs::read_dir(place).unwrap().next().is_none());
    await_that("the processes end", || working_in(place).is_empty());
}

#[test]
fn no_server_outlives_a_killed_process() {
    let place = place();
    let mut process = hold_servers(place.path());
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let pids: Vec<String> = lines.take_while(|line| line != "ready").collect();
    assert_eq!(pids.len(), 4);
    let working = working_in(place.path());
    for pid in &pids {
        assert!(working.contains(&Path::new("/proc").join(pid)), "{pid} is not among {working:?}");
    }
    process.kill().unwrap();
    process.wait().unwrap();
    await_nothing_left(place.path());
}

#[test]
fn no_server_outlives_a_process_that_ends_in_order() {
    let place = place();
    let mut process = hold_servers(place.path());
    // The end of its input is the end of `main`.
    drop(process.stdin.take());
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.last().as_deref(), Some("ready"));
    assert!(process.wait().unwrap().success());
    await_nothing_left(place.path());
}

/// Killed when the first server has got this far.
fn killed_when(moment: &str) {
    let place = place();
    let mut process = hold_servers(place.path());
    await_that(moment, || {
        let directories = fs::read_dir(place.path()).unwrap().flatten();
        directories.into_iter().any(|directory| directory.path().join(moment).exists())
    });
    process.kill().unwrap();
    process.wait().unwrap();
    await_nothing_left(place.path());
}

#[test]
fn nothing_is_left_of_a_start_that_was_cut_short() {
    for moment in ["", "log", "pid", "data/base", "data/PG_VERSION", "data/postmaster.pid"] {
        killed_when(moment);
    }
}

#[test]
fn a_stopped_server_is_not_mourned() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let gone = [postgres.pid(), redis.pid()];
    postgres.stop_immediate();
    redis.kill();
    for pid in gone {
        assert!(!Path::new("/proc").join(pid.to_string()).exists());
    }
    postgres.start_again();
    redis.start_again();
    assert_eq!(postgres.psql("postgres", "SELECT 1"), "1");
    let homes = [postgres.pid(), redis.pid()].map(|pid| {
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        assert!(cwd.exists());
        cwd
    });
    drop((postgres, redis));
    for home in homes {
        assert!(!home.exists());
        assert!(working_in(&home).is_empty());
    }
}
