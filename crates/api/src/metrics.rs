//! `GET /metrics`, in the text format of Prometheus.

use std::fmt::Write as _;
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
use quillwork_projections::{Health, Stats};

use crate::problem::{Kind, Problem};
use crate::state::ApiState;

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
pub(crate) async fn metrics(State(state): State<ApiState>) -> Result<Response, Problem> {
    let mut text = String::new();
    // A read model that does not answer is a finding, and not a reason to hide the rest.
    let stats = state.models.stats().await.ok();
    write(&state, stats.as_ref(), &mut text)
        .map_err(|_| Problem::new(Kind::Internal, "the metrics cannot be written"))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

fn write(state: &ApiState, stats: Option<&Stats>, text: &mut String) -> std::fmt::Result {
    let mut now = Registry::with_prefix("quillwork");
    let gauge = |n: u64| ConstGauge::new(i64::try_from(n).unwrap_or(i64::MAX));
    let (head, position) = (state.engine.feed().head().0, state.models.position().0);
    now.register("log_head_position", "The last event of the log", gauge(head));
    now.register("projector_position", "The last event in the read models", gauge(position));
    now.register(
        "projector_lag_events",
        "Events that the read models lack",
        gauge(head.saturating_sub(position)),
    );
    let healthy = u64::from(state.models.health() == Health::Running);
    now.register("projector_healthy", "1 while the projector follows the log", gauge(healthy));
    now.register("engine_alive", "1 while the engine runs", gauge(u64::from(state.engine.is_alive())));
    let writes = u64::from(state.engine.trouble().is_none());
    now.register("store_writable", "1 while the store takes commits", gauge(writes));
    now.register(
        "engine_running_stages",
        "Stages that run in this process",
        gauge(state.engine.running() as u64),
    );
    if let Some(stats) = stats {
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
    encode_registry(text, &now)?;
    encode_registry(text, &state.registry)?;
    encode_eof(text)?;
    text.write_str("")
}
