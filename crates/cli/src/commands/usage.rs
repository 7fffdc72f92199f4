//! `usage`: what was paid to providers.

use quillwork_domain::time::Day;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::Globals;
use crate::client::ServerArgs;
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Only this tenant.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only this model.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// This day and later ones, such as 2026-01-31, in UTC.
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// This day and earlier ones.
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// One row for each day, model or tenant.
    #[arg(long, value_parser = ["day", "model", "tenant"])]
    group: Option<String>,
    /// How many rows to show.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Go on where an earlier list ended (`next_cursor` of its JSON).
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Row>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Row {
    day: Option<String>,
    tenant: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    cost_usd: String,
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let server = args.server.server()?;
    let mut url = server.url(&["v1", "usage"]);
    let filters = [
        ("tenant", args.tenant),
        ("provider", args.provider),
        ("model", args.model),
        ("from", args.from.map(|day| day.to_string())),
        ("to", args.to.map(|day| day.to_string())),
        ("group", args.group),
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
    // What a row adds up over.
    let all = |name: Option<String>| name.unwrap_or_else(|| "*".to_owned());
    let rows = page.items.into_iter().map(|row| {
        [
            all(row.day),
            all(row.tenant),
            all(row.provider),
            all(row.model),
            row.calls.to_string(),
            row.input_tokens.to_string(),
            row.output_tokens.to_string(),
            row.cost_usd,
        ]
    });
    output::table(["DAY", "TENANT", "PROVIDER", "MODEL", "CALLS", "IN", "OUT", "USD"], rows)?;
    if let Some(cursor) = page.next_cursor {
        output::note(&format!("there are more; go on with --cursor '{cursor}'"));
    }
    Ok(0)
}
