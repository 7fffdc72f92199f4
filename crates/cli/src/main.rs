//! The binary: reads the command line, runs one command, says what went wrong.

mod cli;
mod client;
mod commands;
mod config;
mod exit;
mod local;
mod logging;
mod open_files;
mod output;
mod outside;
mod retention;
mod signals;
mod stages;
mod start_rates;
mod storage;

use std::process::ExitCode;

use clap::Parser as _;

/// Events are made on one thread and dropped on others, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let outcome = cli.runtime().and_then(|runtime| {
        let outcome = runtime.block_on(commands::dispatch(cli));
        // What blocks a thread by now, such as reading the terminal, must not hold up the end.
        runtime.shutdown_background();
        outcome
    });
    exit::code(outcome)
}
