//! The command line: every command and the flags they share.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::commands::{
    audit, bench, config, content, job, queue, rebuild, retention, run, up, usage, worker,
};
use crate::config::{Config, ConfigError, Overrides, load};

/// Durable jobs that research a topic and write about it.
#[derive(Debug, Parser)]
#[command(name = "quillwork", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that may stand before or after the command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Configuration file [default: ./quillwork.toml if it is there].
    #[arg(long, global = true, value_name = "FILE", env = "QUILLWORK_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Folder that holds everything this process keeps [default: ./quillwork-data].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// Where the log is kept, such as postgres://user@host/database [default: SQLite in the data directory].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Address of the HTTP API [default: 127.0.0.1:7070].
    #[arg(long, global = true, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one job in a process of its own and print its article.
    Run(run::Args),
    /// Run API, workers and projections in one process.
    Up(up::Args),
    /// Run only the API, beside other processes on the same PostgreSQL database.
    Api,
    /// Run only the workers, beside other processes on the same PostgreSQL database.
    Worker(worker::Args),
    /// Run only the projections, beside other processes on the same PostgreSQL database.
    Projector,
    /// Create or upgrade the schema of the store.
    Migrate,
    /// Submit, watch and steer jobs on a server.
    Job(job::Args),
    /// Pause, resume and limit the queues of a server.
    Queue(queue::Args),
    /// Show what was paid to providers, by day, tenant and model.
    Usage(usage::Args),
    /// Show what readers did with articles.
    Content(content::Args),
    /// Rebuild the queue and the read models from the log. Stop the server before, but for the read models on PostgreSQL.
    Rebuild(rebuild::Args),
    /// Take finished jobs out of the log.
    Retention(retention::Args),
    /// Check or export the log.
    Audit(audit::Args),
    /// Load a running server and report latencies and throughput.
    Bench(bench::Args),
    /// Check, show or describe the configuration.
    Config(config::Args),
}

impl Cli {
    /// The runtime the command needs: all cores for work, one thread for everything else.
    pub(crate) fn runtime(&self) -> anyhow::Result<Runtime> {
        let mut builder = match self.command {
            Command::Run(_)
            | Command::Up(_)
            | Command::Api
            | Command::Worker(_)
            | Command::Projector
            | Command::Rebuild(_)
            | Command::Audit(_) => Builder::new_multi_thread(),
            Command::Migrate
            | Command::Job(_)
            | Command::Queue(_)
            | Command::Usage(_)
            | Command::Content(_)
            | Command::Retention(_)
            | Command::Bench(_)
            | Command::Config(_) => Builder::new_current_thread(),
        };
        builder.enable_all().build().context("cannot start the runtime")
    }
}

impl Globals {
    /// The effective configuration.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        self.load_with(vec![])
    }

    /// The effective configuration, with flags of a command.
    pub(crate) fn load_with(&self, more: Overrides) -> Result<Config, ConfigError> {
        load(self.config.as_deref(), std::env::vars_os(), &self.overrides(more))
    }

    /// Settings given as flags.
    pub(crate) fn overrides(&self, more: Overrides) -> Overrides {
        let flags = [
            ("--data-dir", "data_dir", &self.data_dir),
            ("--store", "store", &self.store),
            ("--listen", "listen", &self.listen),
        ];
        let given = flags.into_iter().filter_map(|(flag, key, text)| Some((flag, key.into(), text.clone()?)));
        given.chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for line in [
            ["quillwork", "--data-dir", "d", "--listen", "127.0.0.1:1", "up"],
            ["quillwork", "up", "--data-dir", "d", "--listen", "127.0.0.1:1"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.globals.data_dir.as_deref(), Some("d"));
            assert_eq!(cli.globals.listen.as_deref(), Some("127.0.0.1:1"));
        }
    }
}
