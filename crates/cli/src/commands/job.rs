//! `job`: submit, watch and steer jobs on a server.

mod budget;
mod cancel;
mod cost;
mod events;
mod get;
mod list;
mod result;
mod resume;
mod retry;
mod submit;
mod timeline;
mod view;
mod watch;

use clap::Subcommand;

use crate::cli::Globals;
use crate::client::ServerArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Submit a topic; prints the id of the job.
    Submit(submit::Args),
    /// Show a job.
    Get(get::Args),
    /// List jobs, the newest first.
    List(list::Args),
    /// Follow a job until it ends; exit code 1 if it does not complete.
    Watch(watch::Args),
    /// Show the whole history of a job.
    Events(events::Args),
    /// Print the article of a completed job.
    Result(result::Args),
    /// Stop a job.
    Cancel(cancel::Args),
    /// Set a failed or cancelled job going again.
    Retry(retry::Args),
    /// Say how much a job may cost, in US dollars; a paused one goes on if that is what it waits for.
    Budget(budget::Args),
    /// Let a paused job try again.
    Resume(resume::Args),
    /// Show what a job has cost, call by call.
    Cost(cost::Args),
    /// Show when each attempt of each stage ran, and how it ended.
    Timeline(timeline::Args),
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let server = args.server.server()?;
    match args.command {
        Command::Submit(args) => submit::run(globals, &server, args).await,
        Command::Get(args) => get::run(globals, &server, &args).await,
        Command::List(args) => list::run(globals, &server, args).await,
        Command::Watch(args) => watch::run(globals, &server, &args).await,
        Command::Events(args) => events::run(globals, &server, &args).await,
        Command::Result(args) => result::run(globals, &server, args).await,
        Command::Cancel(args) => cancel::run(globals, &server, args).await,
        Command::Retry(args) => retry::run(globals, &server, &args).await,
        Command::Budget(args) => budget::run(globals, &server, &args).await,
        Command::Resume(args) => resume::run(globals, &server, &args).await,
        Command::Cost(args) => cost::run(globals, &server, &args).await,
        Command::Timeline(args) => timeline::run(globals, &server, &args).await,
    }
}

/// Names one job.
#[derive(Debug, clap::Args)]
struct JobArgs {
    /// The id of the job, as `job submit` printed it.
    #[arg(value_name = "JOB", value_parser = parse_id)]
    id: quillwork_domain::id::JobId,
}

/// Reads the name of a tenant.
fn parse_tenant(text: &str) -> Result<String, String> {
    if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 64 visible ASCII characters".to_owned())
}

fn parse_id(text: &str) -> Result<quillwork_domain::id::JobId, String> {
    text.parse().map_err(|_| "expected a job id such as 019ea1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b".to_owned())
}
