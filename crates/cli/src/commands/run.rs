//! `run`: one job in a process of its own.
//!
//! The article goes to standard output, progress to standard error.

mod progress;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use quillwork_app::budgets::TenantBudgets;
use quillwork_app::engine::{Caller, Submission};
use quillwork_app::payload::unpack;
use quillwork_app::ports::store::Entry;
use quillwork_domain::id::{JobId, Version};
use quillwork_domain::job::{Budget, Event, Job, JobSubmitted, Phase, check_topic, evolve};
use quillwork_domain::money::Usd;
use quillwork_domain::payload::Payload;
use quillwork_domain::wire;
use quillwork_projections::Projector;
use quillwork_store::postgres::Hears;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::progress::Progress;
use crate::cli::Globals;
use crate::config::Config;
use crate::exit::{FAILED, INTERRUPTED, Usage};
use crate::local::{Handlers, Local};
use crate::outside::Outside;
use crate::signals::Signals;
use crate::storage::Storage;
use crate::{logging, output};

/// How long a cancelled stage may take to notice.
const GRACE: Duration = Duration::from_secs(2);

/// Events read at a time.
const PAGE: usize = 256;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to write about.
    topic: String,
    /// Folder to search; the documentation that comes with the binary if absent.
    #[arg(long, value_name = "DIR")]
    corpus: Option<String>,
    /// Page to read instead of searching; may be given several times.
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// Searches to ask, such as `corpus,wikipedia`; the configured ones if absent.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    search: Option<Vec<String>>,
    /// What the job goes through; the configured default if absent.
    #[arg(long)]
    pipeline: Option<String>,
    /// Length of the article, at most about.
    #[arg(long, value_name = "WORDS")]
    max_words: Option<u32>,
    /// How much the job may cost, in US dollars; the configured budget if absent.
    #[arg(long, value_name = "USD")]
    max_cost: Option<Usd>,
    /// Write the article to a file.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How the job ended.
enum Ended {
    /// What the stages returned, the last stage first.
    Completed(Vec<Payload>),
    Failed(String),
    /// It waits for money, and why.
    Paused(String),
    Interrupted,
}

pub(crate) async fn run(globals: &Globals, args: Args) -> anyhow::Result<u8> {
    let corpus = args.corpus.clone().map(|folder| ("--corpus", "corpus".into(), folder));
    let config = quiet(globals.load_with(corpus.into_iter().collect())?);
    logging::start(&config.settings)?;
    let mut signals = Signals::new()?;

    let (storage, writer) = Storage::open(&config.settings, Hears::All).await?;
    let outside = Outside::new(&config.settings, storage.cache(&config.settings)?, &mut Registry::default())?;
    let limits = config.settings.budgets.of_a_day();
    let models = if limits.is_empty() { None } else { Some(storage.read_models(&config.settings).await?) };
    let budgets = models.clone().map(|models| Arc::new(TenantBudgets::new(limits, Arc::new(models))));
    let local = Local::start(&config, &storage, writer, &outside, &Handlers::All, budgets).await?;
    // What was spent before counts as well.
    let stop_counting = CancellationToken::new();
    let mut counting = JoinSet::new();
    if let Some(models) = models {
        let run = Projector::run(models, local.engine.feed().clone(), stop_counting.clone());
        counting.spawn(async move {
            // It has told its log why it stopped.
            let _ = run.await;
        });
    }
    let submission = submission(&local, &args)?;
    let job = submission.id;
    let ended = tokio::select! {
        ended = follow(&local, submission) => ended?,
        () = signals.next() => {
            let reason = Some("interrupted at the terminal".to_owned());
            // It may have ended in this moment, and then there is nothing to cancel.
            let _ = local.engine.cancel(caller(), job, reason).await;
            Ended::Interrupted
        }
    };
    let code = deliver(&local, job, &args, globals.json, ended).await;
    local.drain(GRACE).await;
    local.end().await?;
    stop_counting.cancel();
    while counting.join_next().await.is_some() {}
    code
}

/// Logs would run into the progress; without a word from the operator only errors are shown.
fn quiet(mut config: Config) -> Config {
    if config.is_default("log") {
        config.settings.log = "error".to_owned();
    }
    config
}

fn caller() -> Caller {
    Caller {
        actor: "cli".into(),
        tenant: "default".into(),
        correlation_id: Uuid::now_v7(),
        traceparent: None,
    }
}

fn submission(local: &Local, args: &Args) -> Result<Submission, Usage> {
    let topic = args.topic.trim();
    check_topic(topic).map_err(|wrong| Usage(format!("the topic: {wrong}")))?;
    let wrong = |error: quillwork_app::catalog::NotInCatalog| Usage(error.to_string());
    let (pipeline, plan) = local.catalog.pipeline(args.pipeline.as_deref()).map_err(wrong)?;
    let settings = settings(args);
    if let Some(settings) = &settings {
        local.catalog.check_settings(pipeline, plan, settings).map_err(wrong)?;
    }
    let job = JobSubmitted {
        settings: settings.map(Arc::from),
        // Whatever else waits in this data directory has waited before and can wait on.
        priority: i16::MAX,
        budget: match args.max_cost {
            Some(Usd(max_cost_micros)) => {
                let check = local.catalog.check_budget();
                check.map_err(|reason| Usage(format!("--max-cost: {reason}")))?;
                Some(Budget { max_cost_micros })
            }
            None => local.catalog.job_budget(),
        },
        ..JobSubmitted::new(topic.to_owned(), pipeline.to_owned(), plan.clone())
    };
    Ok(Submission { id: JobId(Uuid::now_v7()), job: Arc::new(job) })
}

/// What the arguments say about stages; None if nothing.
fn settings(args: &Args) -> Option<Box<RawValue>> {
    let mut settings = serde_json::Map::new();
    if let Some(words) = args.max_words {
        settings.insert("generation".to_owned(), json!({ "max_words": words }));
    }
    let mut research = serde_json::Map::new();
    if !args.urls.is_empty() {
        research.insert("urls".to_owned(), json!(args.urls));
    }
    if let Some(search) = &args.search {
        research.insert("search".to_owned(), json!(search));
    }
    if !research.is_empty() {
        settings.insert("research".to_owned(), research.into());
    }
    let any = !settings.is_empty();
    any.then(|| serde_json::value::to_raw_value(&settings).ok()).flatten()
}

/// Submits the job and shows what happens to it until it ends.
async fn follow(local: &Local, submission: Submission) -> anyhow::Result<Ended> {
    let id = submission.id;
    let feed = local.engine.feed().clone();
    let watch = feed.watch(id);
    let mut progress = Progress::new(id, &submission.job.plan);
    let mut reports = local.engine.progress().listen();
    let mut verdicts = local.engine.submit(caller(), vec![submission]).await;
    verdicts.pop().context("the engine gave no verdict")??;

    let mut job = Job::default();
    let mut last_failure = String::new();
    loop {
        let changed = watch.changed();
        tokio::pin!(changed);
        for entry in news(local, id, job.version).await? {
            progress.show(&entry);
            if let Event::StageFailed(failed) = &entry.event {
                last_failure.clone_from(&failed.error);
            }
            job = evolve(job, &entry.event);
        }
        match job.phase {
            Phase::Completed => {
                let outputs = job.stages.into_iter().rev().filter_map(|stage| stage.output);
                return Ok(Ended::Completed(outputs.collect()));
            }
            Phase::Failed => {
                let error = job.error.map(|error| format!("{}: {}", error.class, error.message));
                return Ok(Ended::Failed(error.unwrap_or_default()));
            }
            Phase::Cancelled => return Ok(Ended::Failed("it was cancelled".to_owned())),
            Phase::Open if job.is_paused() => return Ok(Ended::Paused(last_failure)),
            Phase::New | Phase::Open => {}
        }
        loop {
            tokio::select! {
                () = &mut changed => break,
                // Missed reports are made up for by the next one.
                Ok(report) = reports.recv() => progress.report(&report),
            }
        }
    }
}

/// The job's events after `version`.
async fn news(local: &Local, id: JobId, version: Version) -> anyhow::Result<Vec<Entry>> {
    let recorded = local.reader.stream(id.into(), version, PAGE).await?;
    recorded.into_iter().map(|recorded| Ok(Entry { event: wire::decode(&recorded)?, recorded })).collect()
}

/// The article, in what the stages of a pipeline return.
#[derive(Deserialize)]
struct Markdown {
    markdown: String,
}

async fn deliver(local: &Local, job: JobId, args: &Args, json: bool, ended: Ended) -> anyhow::Result<u8> {
    let outputs = match ended {
        Ended::Completed(outputs) => outputs,
        Ended::Failed(reason) => {
            output::note(&format!("error: the job failed: {reason}"));
            return Ok(FAILED);
        }
        Ended::Paused(reason) => {
            output::note(&format!(
                "paused: {reason}; job {job} is kept: go on with `quillwork up`, `quillwork job budget {job} USD` and `quillwork job resume {job}`"
            ));
            return Ok(FAILED);
        }
        Ended::Interrupted => {
            output::note(&format!("interrupted; job {job} is cancelled"));
            return Ok(INTERRUPTED);
        }
    };
    let (mut article, mut last) = (None, None);
    for output in &outputs {
        let output = unpack(local.reader.as_ref(), output).await?;
        if let Ok(Markdown { markdown }) = serde_json::from_str(output.get()) {
            article = Some(if json { output.get().to_owned() } else { markdown });
            break;
        }
        last.get_or_insert_with(|| output.get().to_owned());
    }
    let text = article.or(last).context("no stage returned anything")?;
    let text = format!("{}\n", text.trim_end());
    match &args.out {
        Some(path) => {
            std::fs::write(path, text)
                .with_context(|| format!("cannot write the article to {}", path.display()))?;
        }
        None => output::write(&text)?,
    }
    Ok(0)
}
