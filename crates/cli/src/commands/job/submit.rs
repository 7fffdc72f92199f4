//! `job submit`: hand a topic to a server.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use anyhow::Context as _;
use quillwork_domain::job::Status;
use quillwork_domain::money::Usd;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::view::{Acknowledged, JobView};
use crate::cli::Globals;
use crate::client::Server;
use crate::exit::{FAILED, Usage};
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to write about.
    topic: String,
    /// What the job goes through; the server's default if absent.
    #[arg(long)]
    pipeline: Option<String>,
    /// A label to find the job by; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Higher runs earlier.
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i16>,
    /// Not before this time, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    run_at: Option<quillwork_domain::time::Timestamp>,
    /// Settings of the stages, as JSON or as @FILE.
    #[arg(long, value_name = "JSON|@FILE")]
    settings: Option<String>,
    /// How much the job may cost, in US dollars; the server's configured budget if absent.
    #[arg(long, value_name = "USD")]
    max_cost: Option<Usd>,
    /// Whose job it is: tenants take turns; the server's `default` if absent.
    #[arg(long, value_name = "NAME", value_parser = super::parse_tenant)]
    tenant: Option<String>,
    /// Submitting twice with the same key makes one job; a new key if absent.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Wait until the job ends; exit code 1 if it does not complete.
    #[arg(long)]
    wait: bool,
}

/// The body of the request.
#[derive(Debug, Serialize)]
struct Submission<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<quillwork_domain::time::Timestamp>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Budget>,
}

#[derive(Debug, Serialize)]
struct Budget {
    max_cost_usd: String,
}

pub(super) async fn run(globals: &Globals, server: &Server, args: Args) -> anyhow::Result<u8> {
    let body = Submission {
        topic: &args.topic,
        pipeline: args.pipeline.as_deref(),
        settings: args.settings.as_deref().map(read_settings).transpose()?,
        priority: args.priority,
        run_at: args.run_at,
        labels: args.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        budget: args.max_cost.map(|max_cost| Budget { max_cost_usd: max_cost.to_string() }),
    };
    let key = args.idempotency_key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    if key.is_empty() || !key.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(Usage("--idempotency-key: use printable ASCII characters".into()).into());
    }
    let url = server.url(&["v1", "jobs"]);
    let answer = server
        .call(|http| {
            let request = http.post(url.clone()).header("Idempotency-Key", &key).json(&body);
            match &args.tenant {
                Some(tenant) => request.header("X-Tenant", tenant),
                None => request,
            }
        })
        .await?;
    let answer: Value =
        answer.json().await.context("the answer to the submission is not what was expected")?;
    let accepted = Acknowledged::deserialize(&answer)
        .context("the answer to the submission is not what was expected")?;
    if args.wait {
        return wait(globals, server, &accepted).await;
    }
    if globals.json {
        output::json(&answer)?;
    } else {
        output::line(&accepted.id.to_string())?;
        if std::io::stdout().is_terminal() {
            output::note(&format!(
                "{}; follow it with `quillwork job watch {}`",
                accepted.status, accepted.id
            ));
        }
    }
    Ok(0)
}

/// Long-polls until the job ends, then shows it.
async fn wait(globals: &Globals, server: &Server, accepted: &Acknowledged) -> anyhow::Result<u8> {
    let mut url = server.url(&["v1", "jobs", &accepted.id.to_string()]);
    url.query_pairs_mut()
        .append_pair("wait", "30s")
        .append_pair("min_position", &accepted.position.to_string());
    output::note(&format!("job {}", accepted.id));
    loop {
        let answer: Value = server.get(url.clone()).await?;
        let job = JobView::deserialize(&answer)?;
        if job.status.is_terminal() {
            if globals.json {
                output::json(&answer)?
            } else {
                job.print()?
            }
            return Ok(if job.status == Status::Completed { 0 } else { FAILED });
        }
    }
}

/// Reads `KEY=VALUE`.
pub(super) fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected KEY=VALUE".to_owned()),
    }
}

fn read_settings(text: &str) -> anyhow::Result<Box<RawValue>> {
    let json = match text.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read the settings file {path}"))?
        }
        None => text.to_owned(),
    };
    serde_json::from_str(&json)
        .map_err(|error| Usage(format!("--settings: this is not JSON: {error}")).into())
}
