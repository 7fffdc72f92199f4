//! `GET /metrics`, in the text format of Prometheus.

use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quillwork_domain::job::PauseReason;
use quillwork_projections::{Health, QueueRow, ReadModels, Stats};

use crate::problem::{Kind, Problem};
use crate::state::Ops;

/// Upper bounds in seconds: a commit takes about a millisecond, a long poll up to a minute.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 60.0];

/// One per kind of answer. Routes are templates, so that their number is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PauseLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandlerLabel {
    handler: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: String,
    outcome: &'static str,
}

/// What is counted of requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    answers: Family<Answer, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
}

impl HttpMetrics {
    /// Counters that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            answers: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        };
        registry.register("quillwork_http_requests", "Answered requests", metrics.answers.clone());
        registry.register(
            "quillwork_http_request_duration_seconds",
            "Time to the headers of the answer",
            metrics.durations.clone(),
        );
        metrics
    }

    pub(crate) fn observe(&self, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            "OPTIONS" => "OPTIONS",
            // A client may send any word.
            _ => "other",
        };
        let answer = Answer { method, route: route.to_owned(), status: status.as_u16() };
        self.answers.get_or_create(&answer).inc();
        let route = Route { method, route: route.to_owned() };
        self.durations.get_or_create(&route).observe(elapsed.as_secs_f64());
    }
}

/// Show metrics for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(ops): State<Ops>) -> Result<Response, Problem> {
    let mut now = Registry::with_prefix("quillwork");
    register_engine(&mut now, &ops);
    register_pauses(&mut now, &ops);
    if let Some(models) = &ops.models {
        register_models(&mut now, &ops, models);
        // A read model that does not answer is a finding, and not a reason to hide the rest.
        if let Ok(stats) = models.stats().await {
            register_stats(&mut now, &stats);
        }
        if let Ok(queues) = models.queues().await {
            register_queues(&mut now, &queues);
        }
    }
    let mut text = String::new();
    encode(&mut text, &now, &ops.registry)
        .map_err(|_| Problem::new(Kind::Internal, "the metrics cannot be written"))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

fn encode(text: &mut String, now: &Registry, registry: &Registry) -> std::fmt::Result {
    encode_registry(text, now)?;
    encode_registry(text, registry)?;
    encode_eof(text)
}

fn gauge(n: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(n).unwrap_or(i64::MAX))
}

fn register_engine(now: &mut Registry, ops: &Ops) {
    now.register("log_head_position", "The last event of the log", gauge(ops.engine.feed().head().0));
    let commits = ConstCounter::new(ops.engine.feed().commits());
    now.register("log_commits", "Commits of events that this process made", commits);
    now.register("engine_alive", "1 while the engine runs", gauge(u64::from(ops.engine.is_alive())));
    let writes = u64::from(ops.engine.trouble().is_none());
    now.register("store_writable", "1 while the store takes commits", gauge(writes));
    let running = ops.engine.running() as u64;
    now.register("engine_running_stages", "Stages that run in this process", gauge(running));
}

fn register_pauses(now: &mut Registry, ops: &Ops) {
    let pauses = Family::<PauseLabel, Counter>::default();
    for reason in PauseReason::ALL {
        let label = PauseLabel { reason: reason.as_str() };
        pauses.get_or_create(&label).inc_by(ops.engine.feed().pauses(reason));
    }
    now.register("jobs_paused", "Jobs that this process paused because a budget was used up", pauses);
}

fn register_models(now: &mut Registry, ops: &Ops, models: &ReadModels) {
    let (head, position) = (ops.engine.feed().head().0, models.position().0);
    now.register("projector_position", "The last event in the read models", gauge(position));
    let lag = head.saturating_sub(position);
    now.register("projector_lag_events", "Events that the read models lack", gauge(lag));
    let healthy = u64::from(matches!(models.health(), Health::Running | Health::Standby));
    let help = "1 while the projector follows the log, or stands by for the one that does";
    now.register("projector_healthy", help, gauge(healthy));
}

fn register_stats(now: &mut Registry, stats: &Stats) {
    let jobs = stats.jobs;
    now.register("jobs_submitted", "Jobs that were ever submitted", ConstCounter::new(jobs.submitted));
    let by_status = Family::<StatusLabel, Gauge>::default();
    for (status, n) in [
        ("scheduled", jobs.scheduled),
        ("queued", jobs.queued),
        ("running", jobs.running),
        ("retrying", jobs.retrying),
        ("completed", jobs.completed),
        ("failed", jobs.failed),
        ("cancelled", jobs.cancelled),
        ("paused", jobs.paused),
    ] {
        by_status.get_or_create(&StatusLabel { status }).set(i64::try_from(n).unwrap_or(i64::MAX));
    }
    now.register("jobs", "Jobs by their status now", by_status);
    let attempts = Family::<StageLabel, Counter>::default();
    for (stage, counts) in &stats.stages {
        for (outcome, n) in [
            ("started", counts.started),
            ("completed", counts.completed),
            ("failed", counts.failed),
            ("retried", counts.retried),
        ] {
            attempts.get_or_create(&StageLabel { stage: stage.clone(), outcome }).inc_by(n);
        }
    }
    now.register("stage_attempts", "Attempts of stages by what became of them", attempts);
}

/// A queue that nobody touched is neither paused nor limited, and is left out.
fn register_queues(now: &mut Registry, queues: &[QueueRow]) {
    let paused = Family::<HandlerLabel, Gauge>::default();
    let limits = Family::<HandlerLabel, Gauge>::default();
    for queue in queues {
        let label = HandlerLabel { handler: queue.handler.clone() };
        paused.get_or_create(&label).set(i64::from(queue.paused));
        if let Some(max_running) = queue.max_running {
            limits.get_or_create(&label).set(i64::from(max_running));
        }
    }
    now.register("queue_paused", "1 while no stage of the handler is started", paused);
    now.register(
        "queue_max_running",
        "Stages of the handler that may run at once in all processes, if limited",
        limits,
    );
}
