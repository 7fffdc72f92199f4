//! One file per command.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod job;
mod migrate;
pub(crate) mod rebuild;
mod role;
pub(crate) mod run;
pub(crate) mod up;

use crate::cli::{Cli, Command};

/// Runs the command; returns the exit code.
pub(crate) async fn dispatch(cli: Cli) -> anyhow::Result<u8> {
    let globals = cli.globals;
    match cli.command {
        Command::Run(args) => run::run(&globals, args).await,
        Command::Up(args) => up::run(&globals, args).await,
        Command::Api => role::refuse("api"),
        Command::Worker => role::refuse("worker"),
        Command::Projector => role::refuse("projector"),
        Command::Migrate => migrate::run(&globals).await,
        Command::Job(args) => job::run(&globals, args).await,
        Command::Rebuild(args) => rebuild::run(&globals, args).await,
        Command::Audit(args) => audit::run(&globals, args).await,
        Command::Bench(args) => bench::run(&globals, args).await,
        Command::Config(args) => config::run(&globals, args),
    }
}
