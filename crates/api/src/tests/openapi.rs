//! The document describes what the API really takes and writes.

use std::collections::{BTreeMap, BTreeSet};

use quillwork_app::engine::{Accepted, Noted};
use quillwork_domain::envelope::{Meta, Recorded};
use quillwork_domain::export::ExportedEvent;
use quillwork_domain::id::{Attempt, JobId, Position, Version};
use quillwork_domain::job::{ErrorClass, JobError, JobPaused, PauseReason, Status, Usage};
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::queue::Control;
use quillwork_domain::time::Timestamp;
use quillwork_projections::job_summary::Progress;
use quillwork_projections::{
    ContentAnalytics, GroupStage, JobSummary, StageState, Stats, TimelineEntry, TimelineOutcome,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::content::{ContentView, NotedView};
use crate::problem::{FieldError, Kind, Problem};
use crate::queues::QueueView;
use crate::queues::command::ControlledView;
use crate::stats::StatsView;
use crate::view::{Changed, JobView, Submitted};

fn document() -> Value {
    serde_json::to_value(crate::openapi()).unwrap()
}

#[test]
fn all_of_the_contract_is_described() {
    let document = document();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.insert(format!("{method} {path}"));
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            assert!(operation["operationId"].is_string());
            let responses = operation["responses"].as_object().unwrap();
            assert!(!responses.is_empty());
            for (name, _) in path.match_indices('{') {
                let name = &path[name + 1..path.find('}').unwrap()];
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(parameters.iter().any(|p| p["name"] == name && p["in"] == "path"), "{path}");
            }
            if path.starts_with("/v1/") && method != "get" {
                let parameters = operation["parameters"].as_array().unwrap();
                for header in ["X-Actor", "X-Tenant"] {
                    assert!(
                        parameters.iter().any(|p| p["name"] == header),
                        "{method} {path} has no {header}"
                    );
                }
            }
            if path.starts_with("/v1/") {
                assert!(responses.keys().any(|status| status.starts_with(['4', '5'])), "{method} {path}");
            }
        }
    }
    let contract = [
        "post /v1/jobs",
        "get /v1/jobs",
        "post /v1/jobs/batch",
        "get /v1/jobs/{id}",
        "get /v1/jobs/{id}/result",
        "get /v1/jobs/{id}/events",
        "get /v1/jobs/{id}/stream",
        "get /v1/jobs/{id}/timeline",
        "post /v1/jobs/{id}/cancel",
        "post /v1/jobs/{id}/retry",
        "post /v1/jobs/{id}/budget",
        "post /v1/jobs/{id}/resume",
        "get /v1/jobs/{id}/cost",
        "get /v1/usage",
        "get /v1/events",
        "get /v1/queues",
        "get /v1/queues/{handler}",
        "post /v1/queues/{handler}/pause",
        "post /v1/queues/{handler}/resume",
        "put /v1/queues/{handler}/limit",
        "get /v1/content",
        "get /v1/content/{id}/analytics",
        "post /v1/content/{id}/views",
        "post /v1/content/{id}/ratings",
        "get /v1/pipelines",
        "get /v1/stats",
        "get /healthz",
        "get /readyz",
        "get /metrics",
        "get /openapi.json",
        "get /docs",
    ];
    assert_eq!(operations, contract.map(str::to_owned).into());
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
            Value::Object(members) => members.values().for_each(|member| walk(member, document)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    walk(&document, &document);
}

fn job() -> JobSummary {
    let at = Timestamp::from_millis(1);
    JobSummary {
        id: JobId(Uuid::nil()),
        status: Status::Failed,
        topic: "tea".into(),
        pipeline: "echo".into(),
        stage: Some("echo".into()),
        attempt: Attempt(1),
        worker: Some("w".into()),
        stage_started_at: Some(at),
        progress: Progress { done: 0, total: 1 },
        submitted_at: at,
        started_at: Some(at),
        finished_at: Some(at),
        error: Some(error()),
        labels: BTreeMap::new(),
        version: Version(1),
        position: Position(1),
        priority: 0,
        run_at: Some(at),
        retry_at: Some(at),
        updated_at: at,
        tenant: "default".into(),
        stages: vec!["echo".into()],
        usage: Some(Usage { input_tokens: 1, output_tokens: 1 }),
        submitted_position: Position(1),
        pause: Some(JobPaused { reason: PauseReason::JobBudget, until: Some(at) }),
        budget_micros: Some(1),
        paid: vec![],
        counted: vec![],
        round: 1,
        group: vec![GroupStage {
            stage_index: 0,
            stage: "echo".into(),
            state: StageState::Running,
            attempt: Attempt(1),
            worker: Some("w".into()),
            started_at: Some(at),
            retry_at: Some(at),
        }],
        beside: vec![],
    }
}

fn error() -> JobError {
    JobError { class: ErrorClass::Panic, message: "m".into(), stage: "echo".into(), attempt: Attempt(1) }
}

fn event() -> ExportedEvent {
    ExportedEvent::new(&Recorded {
        position: Position(1),
        stream: JobId(Uuid::nil()).into(),
        version: Version(1),
        event_id: Uuid::nil(),
        kind: "JobCompleted".into(),
        schema_version: 1,
        data: b"{}".to_vec(),
        meta: Meta {
            actor: "client".into(),
            tenant: "default".into(),
            correlation_id: Uuid::nil(),
            causation_id: Some(Uuid::nil()),
            traceparent: Some("t".into()),
        },
        recorded_at: Timestamp::from_millis(1),
        hash: Sha256Digest([0; 32]),
    })
    .unwrap()
}

/// What the API writes has the members that the schema names, in the types that it names, and no others.
#[track_caller]
fn check(document: &Value, name: &str, written: &Value) {
    let schema = &document["components"]["schemas"][name];
    check_schema(document, name, schema, written);
}

#[track_caller]
fn check_schema(document: &Value, at: &str, schema: &Value, written: &Value) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return check_schema(document, at, schema, written);
    }
    if let Some(Value::Array(options)) = schema.get("oneOf") {
        let described = options.iter().find(|option| option["type"] != "null").unwrap();
        return check_schema(document, at, described, written);
    }
    let types = schema["type"].as_array().map_or_else(
        || schema["type"].as_str().into_iter().collect::<Vec<_>>(),
        |types| types.iter().filter_map(Value::as_str).collect(),
    );
    let found = match written {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&found), "{at}: {found} is not one of {types:?}");
    if let (Value::Array(items), Some(schema)) = (written, schema.get("items")) {
        items.iter().for_each(|item| check_schema(document, at, schema, item));
    }
    if let (Value::Object(members), Some(Value::Object(properties))) = (written, schema.get("properties")) {
        let names =
            |members: &serde_json::Map<String, Value>| members.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(members), names(properties), "{at}");
        for (name, member) in members {
            check_schema(document, &format!("{at}.{name}"), &properties[name], member);
        }
    }
}

#[test]
fn answers_have_the_described_shapes() {
    let document = document();
    let accepted = Accepted {
        job: JobId(Uuid::nil()),
        status: Status::Queued,
        position: Position(1),
        version: Version(1),
        replayed: false,
    };
    check(&document, "Job", &json!(JobView::from(job())));
    check(&document, "Submitted", &json!(Submitted::from(accepted)));
    check(&document, "Changed", &json!(Changed::from(accepted)));
    check(&document, "Event", &json!(event()));
    let entry = TimelineEntry {
        stage_index: 0,
        stage: "echo".into(),
        attempt: Attempt(1),
        worker: None,
        started_at: None,
        finished_at: None,
        outcome: TimelineOutcome::Lost,
        class: None,
        error: None,
        retry_at: None,
    };
    check(&document, "TimelineEntry", &json!(entry));
    let queue = QueueView {
        handler: "echo".into(),
        paused: true,
        reason: Some("r".into()),
        max_running: Some(1),
        changed_at: Some(Timestamp::from_millis(1)),
        changed_by: Some("client".into()),
    };
    check(&document, "Queue", &json!(queue));
    let controlled = ControlledView {
        handler: "echo".into(),
        control: Control { paused: false, max_running: Some(1) },
        position: Position(1),
    };
    check(&document, "ControlledQueue", &json!(controlled));
    let (id, at) = (JobId(Uuid::nil()), Timestamp::from_millis(1));
    let content =
        ContentAnalytics { ratings: 2, stars: 7, seo_score: Some(0.5), ..ContentAnalytics::new(id, at) };
    check(&document, "Content", &json!(ContentView::from(content)));
    let noted = Noted { position: Position(1), replayed: false };
    check(&document, "Noted", &json!(NotedView::new(id, noted)));
    let mut stats = Stats::default();
    stats.stages.insert("echo".into(), Default::default());
    check(&document, "Stats", &json!(StatsView { stats: stats.clone(), head: Position(0) }));
    check(&document, "StageCounts", &json!(stats.stages["echo"]));
    let problem = Problem {
        errors: vec![FieldError { field: "topic".into(), message: "m".into() }],
        job_error: Some(Box::new(error())),
        ..Problem::new(Kind::Validation, "d")
    };
    check(&document, "Problem", &json!(problem.body(Uuid::nil(), Some("/v1/jobs"))));
    let statuses = &document["components"]["schemas"]["Status"]["enum"];
    assert_eq!(statuses, &json!(Status::ALL));
    let outcomes = &document["components"]["schemas"]["Outcome"]["enum"];
    assert_eq!(outcomes, &json!(TimelineOutcome::ALL));
}

#[test]
fn docs_need_no_other_server() {
    let page = include_str!("../docs.html");
    for other in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(other), "{other}");
    }
}
