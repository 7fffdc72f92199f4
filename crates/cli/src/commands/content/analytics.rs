//! `content analytics`: the views and ratings of an article.

use quillwork_domain::id::JobId;
use serde::Deserialize as _;
use serde_json::Value;

use super::view::ContentView;
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The id of the job that wrote the article.
    #[arg(value_name = "ID")]
    id: JobId,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: &Args) -> anyhow::Result<u8> {
    let url = server.url(&["v1", "content", &args.id.to_string(), "analytics"]);
    let content: Value = server.get(url).await?;
    if globals.json {
        output::json(&content)?;
        return Ok(0);
    }
    let content = ContentView::deserialize(content)?;
    output::pairs([
        ("article", content.id.to_string()),
        ("views", content.views.to_string()),
        ("ratings", content.ratings.to_string()),
        ("average", content.rating()),
        ("seo score", content.seo()),
        ("updated", content.updated_at.to_string()),
    ])?;
    Ok(0)
}
