//! One file per command.

mod api;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod content;
pub(crate) mod job;
mod migrate;
mod projector;
pub(crate) mod queue;
pub(crate) mod rebuild;
pub(crate) mod retention;
pub(crate) mod run;
mod serve;
pub(crate) mod up;
pub(crate) mod usage;
pub(crate) mod worker;

use crate::cli::{Cli, Command};

/// Runs the command; returns the exit code.
pub(crate) async fn dispatch(cli: Cli) -> anyhow::Result<u8> {
    let globals = cli.globals;
    match cli.command {
        Command::Run(args) => run::run(&globals, args).await,
        Command::Up(args) => up::run(&globals, args).await,
        Command::Api => api::run(&globals).await,
        Command::Worker(args) => worker::run(&globals, args).await,
        Command::Projector => projector::run(&globals).await,
        Command::Migrate => migrate::run(&globals).await,
        Command::Job(args) => job::run(&globals, args).await,
        Command::Usage(args) => usage::run(&globals, args).await,
        Command::Queue(args) => queue::run(&globals, args).await,
        Command::Content(args) => content::run(&globals, args).await,
        Command::Rebuild(args) => rebuild::run(&globals, args).await,
        Command::Retention(args) => retention::run(&globals, args).await,
        Command::Audit(args) => audit::run(&globals, args).await,
        Command::Bench(args) => bench::run(&globals, args).await,
        Command::Config(args) => config::run(&globals, args),
    }
}
