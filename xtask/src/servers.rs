//! What tests and benchmarks need besides Rust: the programs of real servers, from Debian's packages.

use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::report;

/// Asked by the scripts of Debian's packages before they start a service; 101 forbids it.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// The Debian packages of PostgreSQL, with `pgbench`.
pub(crate) const POSTGRES: &[&str] = &["postgresql", "postgresql-client"];

/// What the tests need.
pub(crate) const ALL: &[&str] =
    &["postgresql", "postgresql-client", "redis-server", "pgbouncer", "faketime", "python3"];

/// Installs what is missing of these packages where we may, and otherwise fails with the command that does.
pub(crate) fn provide(packages: &[&str]) -> Result<()> {
    let missing = missing_packages(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !(is_root() && Path::new("/etc/debian_version").exists() && in_path("apt-get")) {
        bail!(
            "tests and benchmarks start servers of their own and need the Debian package(s) {names}; \
             as root: apt-get update && apt-get install -y --no-install-recommends {names}"
        );
    }
    let _policy = ServicePolicy::forbid()?;
    if install(&missing).is_err() {
        // The lists of packages may be absent or old.
        apt_get(&["update"])?;
        install(&missing)?;
    }
    let still = missing_packages(packages);
    if !still.is_empty() {
        bail!("apt-get installed {names}, but the programs of {} are not found", still.join(" "));
    }
    Ok(())
}

fn missing_packages(wanted: &[&str]) -> Vec<&'static str> {
    let given = |name: &str| env::var_os(name).is_some();
    let needs = [
        (
            "postgresql",
            given("QUILLWORK_TEST_POSTGRES_URL")
                || ["initdb", "postgres", "pgbench"].into_iter().all(in_postgres),
        ),
        ("postgresql-client", in_postgres("psql")),
        ("redis-server", given("QUILLWORK_TEST_REDIS_URL") || in_path("redis-server")),
        ("pgbouncer", in_path("pgbouncer")),
        ("faketime", has_faketime()),
        ("python3", in_path("python3")),
    ];
    let needed = needs.into_iter().filter(|(package, present)| !present && wanted.contains(package));
    needed.map(|(package, _)| package).collect()
}

/// Debian keeps the programs of each version in a directory of its own, outside PATH.
fn in_postgres(program: &str) -> bool {
    in_path(program)
        || children(Path::new("/usr/lib/postgresql"))
            .iter()
            .any(|version| version.join("bin").join(program).is_file())
}

fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // Where Debian has its daemons, whether or not the user's PATH says so.
    env::split_paths(&path).chain(["/usr/sbin".into()]).any(|place| place.join(program).is_file())
}

/// The library that shifts a process's clock lies in a directory named after the architecture.
fn has_faketime() -> bool {
    children(Path::new("/usr/lib")).iter().any(|place| place.join("faketime/libfaketime.so.1").is_file())
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn install(packages: &[&str]) -> Result<()> {
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages);
    apt_get(&args)
}

fn apt_get(args: &[&str]) -> Result<()> {
    report(&format!("apt-get {}", args.join(" ")));
    let status = Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(args)
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed", args.join(" "));
    }
    Ok(())
}

/// While it lives, no package starts its service: the tests start their own servers, on ports of their own.
struct ServicePolicy {
    written: bool,
}

impl ServicePolicy {
    /// A policy that the machine already has stays as it is.
    fn forbid() -> Result<Self> {
        if Path::new(SERVICE_POLICY).exists() {
            return Ok(Self { written: false });
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(SERVICE_POLICY)
            .with_context(|| format!("cannot write {SERVICE_POLICY}"))?;
        let policy = Self { written: true };
        file.write_all(b"#!/bin/sh\n# Written by `cargo xtask test` while it installs packages.\nexit 101\n")
            .with_context(|| format!("cannot write {SERVICE_POLICY}"))?;
        Ok(policy)
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if self.written
            && let Err(error) = fs::remove_file(SERVICE_POLICY)
        {
            report(&format!("remove {SERVICE_POLICY} by hand, or no service starts: {error}"));
        }
    }
}
