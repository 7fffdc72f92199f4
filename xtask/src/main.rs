//! Developer tasks: `cargo xtask test`, `cargo xtask chaos`, `cargo xtask bench` and `cargo xtask ci`.

mod bench;
mod chaos;
mod servers;

use std::env;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "usage: cargo xtask test [ARGS FOR CARGO TEST] | chaos [--seconds N] [--seed N]
       | bench [--quick] [--only sqlite|postgres] [--stored JOBS] [--json FILE] | ci
  test   all tests of the workspace; as root on Debian, installs the servers they need
  chaos  only the chaos test, for so many seconds, with the faults that a seed draws
  bench  builds the release binary and measures everything that docs/benchmarks.md claims, on an idle machine
  ci     formatting, lints, all tests, and cargo-deny if it is installed";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let task = args.next();
    let rest: Vec<String> = args.collect();
    let result = match task.as_deref() {
        Some("test") => test(&rest),
        Some("chaos") => chaos::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("ci") if rest.is_empty() => ci(),
        Some(_) | None => Err(anyhow::anyhow!(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn test(args: &[String]) -> Result<()> {
    servers::provide(servers::ALL)?;
    // The binary first: the black-box tests run it.
    cargo(&["build", "--locked", "--package", "quillwork"])?;
    let mut command = vec!["test", "--locked", "--workspace"];
    command.extend(args.iter().map(String::as_str));
    cargo(&command)
}

fn ci() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    test(&[])?;
    if Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|output| output.status.success())
    {
        // Advisories need a database from the network; `cargo deny check` does all of it where there is one.
        cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"])?;
    } else {
        report(
            "cargo-deny is not installed, so bans, licences and sources were not checked: cargo install cargo-deny",
        );
    }
    Ok(())
}

fn cargo(args: &[&str]) -> Result<()> {
    report(&format!("cargo {}", args.join(" ")));
    let status = Command::new("cargo").args(args).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the one place that speaks to the developer")]
fn report(text: &str) {
    eprintln!("xtask: {text}");
}
