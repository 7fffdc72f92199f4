//! The API over a real engine and real read models, and a log in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use quillwork_app::catalog::{Catalog, CheckSettings};
use quillwork_app::engine::{
    self, Engine, EngineConfig, FinishedStep, Outcome, PackedOutput, StageRun, WorkerPort,
};
use quillwork_app::payload;
use quillwork_domain::job::{ErrorClass, Spent};
use quillwork_domain::plan::{Backoff, Plan, PlannedStage};
use quillwork_projections::{Projector, ReadModels};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::log::MemoryLog;
use crate::{ApiState, HttpMetrics, Limits, Ops, Resources, router};

pub(super) struct Service {
    pub(super) router: Router,
    pub(super) state: ApiState,
    pub(super) log: MemoryLog,
    _folder: tempfile::TempDir,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) response: Response<()>,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Service {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = MemoryLog::default();
        let reader = Arc::new(log.clone());
        let (runs, started) = mpsc::unbounded_channel();
        let config = EngineConfig {
            worker: "test".into(),
            lease: Duration::from_secs(10),
            max_pending: 10_000,
            max_backlog: 10_000,
            max_batch: 1_024,
            cache_bytes: 1 << 24,
        };
        let worker = WorkerPort { handler: "echo".into(), slots: 4, runs };
        let thread =
            engine::start(config, Box::new(log.clone()), reader.clone(), vec![worker]).await.unwrap();
        let engine = thread.engine();
        tokio::spawn(work(engine.clone(), started));
        let models = ReadModels::open(&folder.path().join("read.db"), reader.as_ref()).await.unwrap();
        // It goes on until the last answer, as in a process that ends.
        tokio::spawn(Projector::run(models.clone(), engine.feed().clone(), CancellationToken::new()));
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry);
        let ops = Ops {
            engine,
            models: Some(models.clone()),
            reader,
            registry: Arc::new(registry),
            draining: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        };
        let state = ApiState::from(Resources {
            models,
            catalog: Arc::new(catalog()),
            metrics,
            ops,
            limits: Limits { body_bytes: 4_096, batch_body_bytes: 65_536, ..Limits::default() },
        });
        Self { router: router(state.clone()), state, log, _folder: folder }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, response: Response::from_parts(parts, ()), text }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, json: &str) -> Answer {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(Body::from(json.to_owned())).unwrap()).await
    }

    pub(super) async fn put(&self, path: &str, json: &str) -> Answer {
        let request = Request::put(path).header("content-type", "application/json");
        self.send(request.body(Body::from(json.to_owned())).unwrap()).await
    }

    /// The job at `path`, once `done` holds for it.
    pub(super) async fn get_when(&self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let id = path.rsplit('/').next().unwrap().parse().unwrap();
        let watch = self.state.ops.engine.feed().watch(id);
        tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let changed = watch.changed();
                let head = self.state.ops.engine.feed().head();
                let job = self.get(&format!("{path}?min_position={head}")).await.json();
                if done(&job) {
                    return job;
                }
                changed.await;
            }
        })
        .await
        .expect("the job should get there")
    }

    /// Submits a job and returns its path.
    pub(super) async fn submit(&self, json: &str) -> String {
        let answer = self.post("/v1/jobs", json).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.header("location").to_owned()
    }
}

/// The topic says what a stage does.
async fn work(engine: Engine, mut started: mpsc::UnboundedReceiver<StageRun>) {
    while let Some(run) = started.recv().await {
        let outcome = match run.submitted.topic.as_str() {
            "hang" => continue,
            // The first stage pays for a call, and has no money for the next.
            "spend" if run.stage.place() == 0 && run.steps.is_empty() => {
                let (payload, blob) = payload::pack(RawValue::from_string("1".to_owned()).unwrap()).unwrap();
                let step = FinishedStep { key: "call".into(), payload, blob, spent: Some(spent()) };
                engine.record_step(run.job, run.stage, run.attempt, step).await.unwrap();
                let message = "no money".to_owned();
                Outcome::Failed { class: ErrorClass::BudgetExhausted, message, retry_after: None }
            }
            // Pays for three calls.
            "shop" if run.stage.place() == 0 => {
                let (payload, blob) = payload::pack(RawValue::from_string("1".to_owned()).unwrap()).unwrap();
                for n in 1..=3 {
                    let step = FinishedStep {
                        key: format!("call-{n}"),
                        payload: payload.clone(),
                        blob: blob.clone(),
                        spent: Some(spent()),
                    };
                    engine.record_step(run.job, run.stage, run.attempt, step).await.unwrap();
                }
                Outcome::Completed(PackedOutput { payload, blob, usage: None, rework: None })
            }
            "fail" => {
                Outcome::Failed { class: ErrorClass::Permanent, message: "told to".into(), retry_after: None }
            }
            topic => {
                let json = match topic {
                    "article" => {
                        r##"{"title":"T <b>","markdown":"# T\n\n## Sources\n","sources":[]}"##.to_owned()
                    }
                    "large" => format!("\"{}\"", "x".repeat(40_000)),
                    _ => "{}".to_owned(),
                };
                let (payload, blob) = payload::pack(RawValue::from_string(json).unwrap()).unwrap();
                Outcome::Completed(PackedOutput { payload, blob, usage: None, rework: None })
            }
        };
        engine.finish(run.job, run.stage, run.attempt, outcome);
    }
}

fn spent() -> Spent {
    Spent {
        provider: "main".into(),
        model: "writer-1".into(),
        input_tokens: 10,
        output_tokens: 20,
        cost_micros: 15_000,
        prices: Some("p1".into()),
    }
}

fn catalog() -> Catalog {
    let stage = |name: &str| PlannedStage {
        name: name.into(),
        handler: "echo".into(),
        max_attempts: 1,
        timeout_ms: 1_000,
        backoff: Backoff { initial_ms: 1, factor: 2, max_ms: 1 },
        max_rate_limited: 1,
        max_lost: 1,
        beside_previous: false,
    };
    let plan = Plan::new(vec![stage("one"), stage("two")]).unwrap();
    let check = CheckSettings::new(|_| Ok(()));
    let pipelines = BTreeMap::from([("echo".to_owned(), plan)]);
    Catalog::new(pipelines, "echo".into(), BTreeMap::from([("echo".to_owned(), check)])).unwrap()
}
