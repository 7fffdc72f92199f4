//! The chaos test by itself, for as long as one likes.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{cargo, report, servers};

/// The test, by its full name.
const TEST: &str = "chaos::storm::nothing_is_lost_and_nothing_happens_twice";

/// Reads `--seconds N` and `--seed N`, and runs the test with them.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let variables = variables(args)?;
    servers::provide(servers::ALL)?;
    cargo(&["build", "--locked", "--package", "quillwork"])?;
    let command = [
        "test",
        "--locked",
        "--package",
        "quillwork-tests",
        "--test",
        "it",
        "--",
        "--exact",
        "--nocapture",
        TEST,
    ];
    report(&format!("cargo {}", command.join(" ")));
    let status = Command::new("cargo").args(command).envs(variables).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the chaos test failed");
    }
    Ok(())
}

fn variables(args: &[String]) -> Result<Vec<(&'static str, String)>> {
    let mut variables = Vec::new();
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let name = match flag.as_str() {
            "--seconds" => "QUILLWORK_CHAOS_SECONDS",
            "--seed" => "QUILLWORK_CHAOS_SEED",
            other => bail!("unknown argument {other:?}; expected --seconds N or --seed N"),
        };
        let value = args.next().filter(|value| value.parse::<u64>().is_ok());
        let value = value.with_context(|| format!("{flag} needs a number"))?;
        variables.push((name, value.clone()));
    }
    Ok(variables)
}
