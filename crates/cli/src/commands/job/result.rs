//! `job result`: the article of a completed job.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use reqwest::header::ACCEPT;

use super::JobArgs;
use crate::cli::Globals;
use crate::client::Server;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    job: JobArgs,
    /// In which form; `--json` is short for `--format json`.
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
    /// Write it to a file.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Markdown,
    Html,
    Json,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: Args) -> anyhow::Result<u8> {
    let url = server.url(&["v1", "jobs", &args.job.id.to_string(), "result"]);
    let accept = match if globals.json { Format::Json } else { args.format } {
        Format::Markdown => "text/markdown",
        Format::Html => "text/html",
        Format::Json => "application/json",
    };
    let answer = server.call(|http| http.get(url.clone()).header(ACCEPT, accept)).await?;
    let mut text = answer.text().await.context("the result was cut off")?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    match args.out {
        Some(path) => {
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write the result to {}", path.display()))?;
        }
        None => output::write(&text)?,
    }
    Ok(0)
}
