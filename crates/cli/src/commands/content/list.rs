//! `content list`: articles by what readers did with them.

use serde::Deserialize;
use serde_json::Value;

use super::view::ContentView;
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The most viewed, the best rated or the last changed first.
    #[arg(long, default_value = "views", value_parser = ["views", "rating", "updated"])]
    sort: String,
    /// How many articles to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Go on where an earlier list ended (`next_cursor` of its JSON).
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<ContentView>,
    next_cursor: Option<String>,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: Args) -> anyhow::Result<u8> {
    let mut url = server.url(&["v1", "content"]);
    url.query_pairs_mut().append_pair("sort", &args.sort).append_pair("limit", &args.limit.to_string());
    if let Some(cursor) = args.cursor {
        url.query_pairs_mut().append_pair("cursor", &cursor);
    }
    let page: Value = server.get(url).await?;
    if globals.json {
        output::json(&page)?;
        return Ok(0);
    }
    let page = Page::deserialize(page)?;
    let rows = page.items.iter().map(|content| {
        [
            content.id.to_string(),
            content.views.to_string(),
            content.ratings.to_string(),
            content.rating(),
            content.seo(),
            content.updated_at.to_string(),
        ]
    });
    output::table(["ARTICLE", "VIEWS", "RATINGS", "AVERAGE", "SEO", "UPDATED"], rows)?;
    if let Some(cursor) = page.next_cursor {
        output::note(&format!("there are more; go on with --cursor {cursor}"));
    }
    Ok(0)
}
