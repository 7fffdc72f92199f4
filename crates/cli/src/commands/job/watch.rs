//! `job watch`: follow a job until it ends.

use quillwork_domain::job::Status;

use super::JobArgs;
use super::view::{EventView, JobView};
use crate::cli::Globals;
use crate::client::{Followed, Follower, Server, SseMessage};
use crate::exit::FAILED;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    job: JobArgs,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let id = args.job.id.to_string();
    let mut ended = None;
    let follower = Follower::new(server, server.url(&["v1", "jobs", &id, "stream"]));
    let each = async |message: SseMessage| {
        // What is no event of the log, such as progress, is for those who watch a picture.
        let Ok(event) = serde_json::from_str::<EventView>(&message.data) else { return Ok(Followed::More) };
        if globals.json {
            output::line(&message.data)?;
        } else {
            output::line(format!("{}  {:<14}  {}", event.recorded_at, event.kind, event.gist()).trim_end())?;
        }
        if !matches!(event.kind.as_str(), "JobCompleted" | "JobFailed" | "JobCancelled") {
            return Ok(Followed::More);
        }
        // The job may have been set going again since; the history does not end here then.
        let mut url = server.url(&["v1", "jobs", &id]);
        url.query_pairs_mut().append_pair("min_position", &event.position.to_string());
        let job: JobView = server.get(url).await?;
        if job.version > event.version {
            return Ok(Followed::More);
        }
        ended = Some(job.status);
        Ok(Followed::Enough)
    };
    follower.follow(each).await?;
    Ok(if ended == Some(Status::Completed) { 0 } else { FAILED })
}
