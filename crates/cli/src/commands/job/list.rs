//! `job list`: jobs by what they have in common.

use serde::Deserialize;
use serde_json::Value;

use super::view::JobView;
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only jobs with this status.
    #[arg(long, value_parser = ["scheduled", "queued", "running", "retrying", "completed", "failed", "cancelled", "paused"])]
    status: Option<String>,
    /// Only jobs of this pipeline.
    #[arg(long)]
    pipeline: Option<String>,
    /// Only jobs of this tenant.
    #[arg(long, value_name = "NAME", value_parser = super::parse_tenant)]
    tenant: Option<String>,
    /// Only jobs with this label.
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::submit::parse_label)]
    label: Option<(String, String)>,
    /// Only jobs whose topic contains this text.
    #[arg(long, short)]
    query: Option<String>,
    /// How many jobs to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Go on where an earlier list ended (`next_cursor` of its JSON).
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<JobView>,
    next_cursor: Option<String>,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: Args) -> anyhow::Result<u8> {
    let mut url = server.url(&["v1", "jobs"]);
    let label = args.label.map(|(name, value)| format!("{name}:{value}"));
    let filters = [
        ("status", args.status),
        ("pipeline", args.pipeline),
        ("tenant", args.tenant),
        ("label", label),
        ("q", args.query),
        ("cursor", args.cursor),
        ("limit", Some(args.limit.to_string())),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, &value);
        }
    }
    let page: Value = server.get(url).await?;
    if globals.json {
        output::json(&page)?;
        return Ok(0);
    }
    let page = Page::deserialize(page)?;
    let rows = page.items.iter().map(|job| {
        [
            job.id.to_string(),
            job.status.to_string(),
            format!("{}/{}", job.progress.done, job.progress.total),
            job.pipeline.clone(),
            job.submitted_at.to_string(),
            job.topic.chars().take(60).collect(),
        ]
    });
    output::table(["JOB", "STATUS", "STAGES", "PIPELINE", "SUBMITTED", "TOPIC"], rows)?;
    if let Some(cursor) = page.next_cursor {
        output::note(&format!("there are more; go on with --cursor {cursor}"));
    }
    Ok(0)
}
