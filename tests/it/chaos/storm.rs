//! Everything at once, at random, for a while; and then the log is asked whether anything went wrong.
//!
//! `QUILLWORK_CHAOS_SECONDS` makes it longer, `QUILLWORK_CHAOS_SEED` draws the same faults again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quillwork_app::ports::store::LogReader;
use quillwork_test_servers::{Postgres, Redis};
use quillwork_tests::fleet::{Fleet, Member, Role, evidence, open_log};
use quillwork_tests::invariants;
use quillwork_tests::server::{run, text};
use tokio::sync::watch;

use super::faults::Scene;
use super::load::{Load, now};

const SETTINGS: &str = r#"
lease = "2s"
shutdown_grace = "4s"
drain_delay = "300ms"
# More than the workers finish while everything goes wrong is refused, and clients come again.
limits = { max_backlog = 1500 }
stages.echo = { concurrency = 24, rate = "500/s" }

[pipelines.echo]
stages = [
    { name = "echo-1", handler = "echo", backoff = { initial = "200ms", factor = 2, max = "2s" } },
    { name = "echo-2", handler = "echo", backoff = { initial = "200ms", factor = 2, max = "2s" } },
]

[pipelines.quick]
stages = [
    { name = "one", handler = "echo", backoff = { initial = "20ms", factor = 2, max = "200ms" } },
    { name = "two", handler = "echo", backoff = { initial = "20ms", factor = 2, max = "200ms" } },
    { name = "three", handler = "echo", backoff = { initial = "20ms", factor = 2, max = "200ms" } },
]
"#;

/// Everything that is read models: of each table its name and a digest of its rows.
const READ_MODELS: [&str; 5] = ["job_summary", "job_label", "job_timeline", "queues", "stats"];

/// How long the fleet may take to finish its work when nothing disturbs it any more.
const REST: Duration = Duration::from_secs(120);

/// A line of the summary; shown with `--nocapture`, and when the test fails.
#[expect(clippy::print_stdout, reason = "the summary is what a long run is for")]
fn say(text: &str) {
    println!("chaos: {text}");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_happens_twice() {
    let seconds = number("QUILLWORK_CHAOS_SECONDS").unwrap_or(100);
    let seed = number("QUILLWORK_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    say(&format!("{seconds} s of it, QUILLWORK_CHAOS_SEED={seed}"));
    let began = now();

    let (postgres, redis) = (Postgres::start(), Redis::start());
    let name = "chaos";
    postgres.psql("postgres", &format!("CREATE DATABASE {name}"));
    let store = postgres.url(name);
    let mut fleet = Fleet::on(&store, SETTINGS);
    fleet.set("QUILLWORK_REDIS", redis.url());
    let mut members = vec![
        fleet.member(Role::Api, "api-1"),
        fleet.member(Role::Api, "api-2"),
        fleet.member(Role::Worker, "worker-1"),
        fleet.member(Role::Worker, "worker-ahead").with_clock(3_600),
        fleet.member(Role::Worker, "worker-behind").with_clock(-3_600),
        fleet.member(Role::Projector, "projector-1"),
        fleet.member(Role::Projector, "projector-2"),
    ];
    for member in &mut members {
        member.start_and_wait().await;
    }
    for member in &members {
        member.ready().await;
    }
    let apis: Vec<_> = members[..2].iter().map(Member::url).collect();
    let api = members[0].url();
    let reader = open_log(&store).await;
    let scene = Arc::new(Scene::new(name, postgres, redis, members));

    let load = Load::start(24, seed, &apis);
    let stop = watch::Sender::new(false);
    let supervisor = tokio::spawn(scene.clone().supervise(stop.subscribe()));
    scene.rage(fastrand::Rng::with_seed(seed), Duration::from_secs(seconds)).await;
    let tally = load.finish().await;
    let mut findings = Vec::new();
    if let Err(why) = rest(reader.as_ref(), &scene).await {
        findings.push(format!("the fleet did not come to rest: {why}"));
    }
    stop.send_replace(true);
    supervisor.await.unwrap();

    let acknowledged = tally.acknowledged.lock().unwrap().clone();
    let n_acknowledged = acknowledged.len();
    let api = api.borrow().clone().expect("the first API listens");
    let evidence = evidence(reader.as_ref(), &api, acknowledged, (began, now())).await;
    findings.extend(invariants::check(&evidence));
    findings.append(&mut scene.odd.lock().unwrap());
    findings.append(&mut tally.odd.lock().unwrap());
    findings.extend(end(&scene).await);
    findings.extend(second_opinion(&store, &scene).await);

    let count = |kind: &str| evidence.log.iter().filter(|event| event.kind == kind).count();
    let lost = evidence.log.iter().filter(|event| {
        event.kind == "StageFailed" && String::from_utf8_lossy(&event.data).contains("\"class\":\"lost\"")
    });
    let of = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    say(&format!(
        "{n_acknowledged} submissions acknowledged, {} requests, {} of them repeated; {} cancelled, {} set going again",
        of(&tally.n_requests),
        of(&tally.n_repeats),
        of(&tally.n_cancelled),
        of(&tally.n_retried),
    ));
    say(&scene.counts());
    say(&format!(
        "{} events of {} jobs; {} attempts, {} of them lost, {} results",
        evidence.log.len(),
        count("JobSubmitted"),
        count("StageStarted"),
        lost.count(),
        count("StageCompleted"),
    ));
    say(&format!("{} findings, QUILLWORK_CHAOS_SEED={seed}", findings.len()));
    findings.iter().take(50).for_each(|finding| say(finding));
    assert!(n_acknowledged > 100, "there was load");
    assert!(findings.is_empty(), "{} findings; see above", findings.len());
    drop(fleet);
}

/// Waits until everyone is ready, nothing is left to do, and the read models show it.
async fn rest(reader: &dyn LogReader, scene: &Scene) -> Result<(), String> {
    let deadline = Instant::now() + REST;
    loop {
        let why = match unrest(reader, scene).await {
            None => return Ok(()),
            Some(why) => why,
        };
        if Instant::now() > deadline {
            return Err(why);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Why the fleet is not at rest yet.
async fn unrest(reader: &dyn LogReader, scene: &Scene) -> Option<String> {
    let tasks = match reader.tasks(None, 3).await {
        Ok(tasks) => tasks,
        Err(error) => return Some(error.to_string()),
    };
    if !tasks.is_empty() {
        return Some(format!("tasks are left, among them {tasks:?}"));
    }
    let head = match reader.head().await {
        Ok(head) => head.position.0,
        Err(error) => return Some(error.to_string()),
    };
    for member in &scene.members {
        let member = member.lock().await;
        let Some(base) = member.url().borrow().clone() else {
            return Some(format!("{} does not listen", member.name));
        };
        let asked = match reqwest::get(format!("{base}/readyz")).await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => return Some(format!("{}: {error:?}", member.name)),
        };
        let ready: serde_json::Value = serde_json::from_str(&asked).unwrap_or_default();
        let shows = ready["position"].as_u64().is_none_or(|position| position >= head);
        if ready["ready"] != true || !shows {
            return Some(format!("the log ends at {head}, and {} says {asked}", member.name));
        }
    }
    None
}

/// Ends every process in good order.
async fn end(scene: &Scene) -> Vec<String> {
    let mut findings = Vec::new();
    for member in &scene.members {
        let mut member = member.lock().await;
        match member.terminate().await {
            Some(status) if status.success() => {}
            Some(status) => findings.push(format!("{} ended with {status} in the end", member.name)),
            None => findings.push(format!("{} does not end", member.name)),
        }
    }
    findings
}

/// What the binary itself says of the log, and whether read models that are built anew are the same.
async fn second_opinion(store: &str, scene: &Scene) -> Vec<String> {
    let mut findings = Vec::new();
    let before = read_models(scene).await;
    for command in [&["audit", "verify"][..], &["rebuild", "--only-read-models"]] {
        let arguments = [command, &["--store", store]].concat();
        let output = tokio::task::block_in_place(|| run(&arguments));
        let (command, said) = (command.join(" "), text(&output.stdout));
        say(&format!("{command}: {}", said.trim_end()));
        if !output.status.success() {
            findings.push(format!("{command} says {}: {said}{}", output.status, text(&output.stderr)));
        }
    }
    let after = read_models(scene).await;
    if before != after {
        findings.push(format!("read models built anew differ: {before:#?} became {after:#?}"));
    }
    findings
}

async fn read_models(scene: &Scene) -> Vec<String> {
    let postgres = scene.postgres.lock().await;
    tokio::task::block_in_place(|| {
        let schema = postgres
            .psql(&scene.database, "SELECT schemaname FROM pg_tables WHERE tablename = 'job_summary'");
        let digest = |table: &&str| {
            let sql = format!(
                "SELECT '{table}', count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {schema}.{table} t"
            );
            postgres.psql(&scene.database, &sql)
        };
        READ_MODELS.iter().map(digest).collect()
    })
}
