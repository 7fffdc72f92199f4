//! From a request body to a job: every rule that a submission must pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use quillwork_app::catalog::{Catalog, NotInCatalog};
use quillwork_app::engine::Submission;
use quillwork_domain::id::JobId;
use quillwork_domain::job::{Budget, JobSubmitted, check_topic};
use quillwork_domain::money::Usd;
use quillwork_domain::payload::Sha256Digest;
use quillwork_domain::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::params::clip;
use crate::problem::{FieldError, Problem};
use crate::{body, money};

pub(crate) const MAX_SETTINGS_BYTES: usize = 64 * 1024;
pub(crate) const MAX_PRIORITY: i64 = 100;
pub(crate) const MAX_LABELS: usize = 32;
pub(crate) const MAX_LABEL_KEY: usize = 64;
pub(crate) const MAX_LABEL_VALUE_CHARS: usize = 256;
pub(crate) const MAX_IDEMPOTENCY_KEY: usize = 255;

/// A job as a client asks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewJob {
    topic: String,
    pipeline: Option<String>,
    settings: Option<Box<RawValue>>,
    priority: Option<i64>,
    run_at: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    idempotency_key: Option<String>,
    budget: Option<NewBudget>,
}

/// How much it may cost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBudget {
    max_cost_usd: Box<RawValue>,
}

/// Reads and checks one job; `key` is the request's `Idempotency-Key`.
pub(crate) fn read(json: &[u8], key: Option<&str>, catalog: &Catalog) -> Result<Submission, Problem> {
    let new: NewJob = body::parse(json)?;
    let mut errors = Vec::new();
    let mut refuse = |field: &str, message: String| {
        errors.push(FieldError { field: field.to_owned(), message });
    };

    if let Err(wrong) = check_topic(&new.topic) {
        refuse("topic", wrong.to_string());
    }
    let priority = new.priority.unwrap_or(0);
    if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&priority) {
        refuse("priority", format!("expected -{MAX_PRIORITY} to {MAX_PRIORITY}, got {priority}"));
    }
    let run_at = new.run_at.as_deref().map(str::parse::<Timestamp>).transpose().unwrap_or_else(|error| {
        refuse("run_at", error.to_string());
        None
    });
    let labels = new.labels.unwrap_or_default();
    if labels.len() > MAX_LABELS {
        refuse("labels", format!("expected at most {MAX_LABELS} labels, got {}", labels.len()));
    }
    for (key, value) in labels.iter().take(MAX_LABELS) {
        if let Err(message) = check_label(key, value) {
            refuse(&format!("labels.{}", clip(key)), message);
        }
    }
    let budget = match new.budget.as_ref().map(|budget| money::read(&budget.max_cost_usd)) {
        Some(Ok(Usd(max_cost_micros))) => {
            if let Err(message) = catalog.check_budget() {
                refuse("budget", message);
            }
            Some(Budget { max_cost_micros })
        }
        Some(Err(message)) => {
            refuse("budget.max_cost_usd", message);
            None
        }
        None => catalog.job_budget(),
    };
    let own_key = new.idempotency_key.as_deref();
    if own_key.is_some_and(|own| key.is_some_and(|key| own != key)) {
        refuse("idempotency_key", "differs from the Idempotency-Key header; give one of them".to_owned());
    }
    let key = key.or(own_key);
    if key.is_some_and(|key| !is_idempotency_key(key)) {
        refuse("idempotency_key", format!("expected 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"));
    }
    let plan = match catalog.pipeline(new.pipeline.as_deref()) {
        Ok((pipeline, plan)) => {
            if let Some(settings) = &new.settings {
                if settings.get().len() > MAX_SETTINGS_BYTES {
                    refuse("settings", format!("expected at most {MAX_SETTINGS_BYTES} bytes of JSON"));
                } else if let Err(error) = catalog.check_settings(pipeline, plan, settings) {
                    let (field, message) = explain(error);
                    refuse(&field, message);
                }
            }
            Some((pipeline.to_owned(), plan.clone()))
        }
        Err(error) => {
            let (field, message) = explain(error);
            refuse(&field, message);
            None
        }
    };
    let (Some((pipeline, plan)), true, Ok(priority)) = (plan, errors.is_empty(), i16::try_from(priority))
    else {
        return Err(Problem::fields(errors));
    };
    let job = JobSubmitted {
        topic: new.topic,
        pipeline,
        plan,
        settings: new.settings.map(Arc::from),
        priority,
        run_at,
        labels,
        idempotency_key: key.map(str::to_owned),
        request_digest: key.map(|_| digest(json)).transpose()?,
        budget,
    };
    Ok(Submission { id: JobId(Uuid::now_v7()), job: Arc::new(job) })
}

pub(crate) fn is_idempotency_key(key: &str) -> bool {
    (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
}

fn check_label(key: &str, value: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b);
    if !(1..=MAX_LABEL_KEY).contains(&key.len()) || !key.bytes().all(allowed) {
        return Err(format!(
            "a key is 1 to {MAX_LABEL_KEY} of the characters a-z, 0-9, '.', '_', '/' and '-'"
        ));
    }
    if value.chars().count() > MAX_LABEL_VALUE_CHARS || value.chars().any(char::is_control) {
        return Err(format!(
            "a value has at most {MAX_LABEL_VALUE_CHARS} characters and no control characters"
        ));
    }
    Ok(())
}

/// The field that the catalog complains of, and its complaint.
fn explain(error: NotInCatalog) -> (String, String) {
    let text = error.to_string();
    match error {
        NotInCatalog::Pipeline { .. } | NotInCatalog::Handler { .. } => ("pipeline".to_owned(), text),
        NotInCatalog::Settings { name, .. } => (format!("settings.{}", clip(&name)), text),
        NotInCatalog::WrongSettings { name, reason } => (format!("settings.{}", clip(&name)), reason),
        NotInCatalog::NotAnObject => {
            ("settings".to_owned(), "expected a JSON object with one member per stage handler".to_owned())
        }
    }
}

/// The digest of a request body that does not depend on white space, on the order of members, or on where the key is.
fn digest(json: &[u8]) -> Result<Sha256Digest, Problem> {
    let mut value: Value = body::parse(json)?;
    if let Value::Object(members) = &mut value {
        members.remove("idempotency_key");
    }
    let mut canonical = Vec::with_capacity(json.len());
    write_sorted(&value, &mut canonical)?;
    Ok(Sha256Digest::of(&canonical))
}

fn write_sorted(value: &Value, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            serde_json::to_writer(out, value)?
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write_sorted(item, out)?;
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // A map of this type may keep the order of the text.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (name, value) in members {
                serde_json::to_writer(&mut *out, name)?;
                out.push(b':');
                write_sorted(value, out)?;
                out.push(b',');
            }
            out.push(b'}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quillwork_domain::plan::{Backoff, Plan, PlannedStage};

    use quillwork_app::catalog::CheckSettings;

    use super::*;

    fn catalog() -> Catalog {
        let stage = PlannedStage {
            name: "echo".into(),
            handler: "echo".into(),
            max_attempts: 1,
            timeout_ms: 1,
            backoff: Backoff { initial_ms: 1, factor: 2, max_ms: 1 },
            max_rate_limited: 1,
            max_lost: 1,
            beside_previous: false,
        };
        let pipelines = BTreeMap::from([("echo".to_owned(), Plan::new(vec![stage]).unwrap())]);
        fn check(settings: &RawValue) -> Result<(), String> {
            if settings.get() == "{}" { Ok(()) } else { Err("expected {}".into()) }
        }
        Catalog::new(
            pipelines,
            "echo".into(),
            BTreeMap::from([("echo".to_owned(), CheckSettings::new(check))]),
        )
        .unwrap()
    }

    fn fields(json: &str) -> Vec<String> {
        match read(json.as_bytes(), None, &catalog()) {
            Ok(_) => vec![],
            Err(problem) => {
                assert_eq!(problem.kind.status().as_u16(), 422, "{problem:?}");
                problem.errors.into_iter().map(|error| error.field).collect()
            }
        }
    }

    #[test]
    fn the_default_pipeline_is_taken() {
        let submission = read(br#"{"topic":"tea"}"#, None, &catalog()).unwrap();
        assert_eq!((submission.job.pipeline.as_str(), submission.job.plan.len()), ("echo", 1));
        assert_eq!(submission.job.request_digest, None);
    }

    #[test]
    fn the_budget_is_the_jobs_own_or_the_configured_one() {
        let configured = catalog().with_job_budget(Some(Budget { max_cost_micros: 7 }));
        for (json, catalog, micros) in [
            (r#"{"topic":"tea"}"#, catalog(), None),
            (r#"{"topic":"tea"}"#, configured.clone(), Some(7)),
            (r#"{"topic":"tea","budget":{"max_cost_usd":"0.50"}}"#, configured.clone(), Some(500_000)),
            (r#"{"topic":"tea","budget":{"max_cost_usd":0.1}}"#, configured, Some(100_000)),
        ] {
            let budget = read(json.as_bytes(), None, &catalog).unwrap().job.budget;
            assert_eq!(budget.map(|budget| budget.max_cost_micros), micros, "{json}");
        }
    }

    #[test]
    fn a_budget_that_nobody_can_keep_is_refused() {
        let catalog = catalog().with_unpriced(vec!["here".into()]);
        let problem = read(br#"{"topic":"x","budget":{"max_cost_usd":"1"}}"#, None, &catalog).unwrap_err();
        assert!(format!("{problem:?}").contains("no price in the configuration"), "{problem:?}");
        assert!(read(br#"{"topic":"x"}"#, None, &catalog).is_ok());
    }

    #[test]
    fn all_fields_are_taken() {
        let json = r#"{"topic":"tea","pipeline":"echo","settings":{"echo":{}},"priority":-100,
            "run_at":"2030-01-01T00:00:00Z","labels":{"team/a.b_c-1":"blue"}}"#;
        assert_eq!(fields(json), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_field_is_named() {
        for (json, field) in [
            (r#"{}"#, "topic"),
            (r#"["x"]"#, "body"),
            (r#"{"topic":""}"#, "topic"),
            (r#"{"topic":"  "}"#, "topic"),
            (r#"{"topic":"a\nb"}"#, "topic"),
            (r#"{"topic":null}"#, "topic"),
            (r#"{"topic":"x","pipeline":"nope"}"#, "pipeline"),
            (r#"{"topic":"x","priority":101}"#, "priority"),
            (r#"{"topic":"x","priority":1.5}"#, "priority"),
            (r#"{"topic":"x","run_at":"tomorrow"}"#, "run_at"),
            (r#"{"topic":"x","labels":{"A":"b"}}"#, "labels.A"),
            (r#"{"topic":"x","labels":{"a":1}}"#, "labels.a"),
            (r#"{"topic":"x","settings":[]}"#, "settings"),
            (r#"{"topic":"x","settings":{"echo":1}}"#, "settings.echo"),
            (r#"{"topic":"x","settings":{"nope":1}}"#, "settings.nope"),
            (r#"{"topic":"x","budget":1}"#, "budget"),
            (r#"{"topic":"x","budget":{}}"#, "budget.max_cost_usd"),
            (r#"{"topic":"x","budget":{"max_cost_usd":"much"}}"#, "budget.max_cost_usd"),
            (r#"{"topic":"x","budget":{"max_cost_usd":-1}}"#, "budget.max_cost_usd"),
            (r#"{"topic":"x","budget":{"max_cost_usd":"1","max_tokens":1}}"#, "budget.max_tokens"),
            (r#"{"topic":"x","colour":1}"#, "colour"),
            (r#"{"topic":"x","idempotency_key":"a b"}"#, "idempotency_key"),
        ] {
            assert_eq!(fields(json), [field], "{json}");
        }
        let all = r#"{"topic":"","priority":1000,"run_at":"x","pipeline":"nope"}"#;
        assert_eq!(fields(all), ["topic", "priority", "run_at", "pipeline"]);
        assert_eq!(fields(&format!(r#"{{"topic":"{}"}}"#, "ä".repeat(2_001))), ["topic"]);
        assert_eq!(fields(&format!(r#"{{"topic":"{}"}}"#, "ä".repeat(2_000))), Vec::<String>::new());
    }

    #[test]
    fn the_digest_is_of_the_meaning() {
        let digest =
            |json: &str| read(json.as_bytes(), Some("key"), &catalog()).unwrap().job.request_digest.unwrap();
        let one = digest(r#"{"topic":"x","labels":{"a":"1","b":"2"}}"#);
        assert_eq!(one, digest("{ \"labels\" : {\"b\":\"2\",\n\"a\":\"1\"}, \"topic\":\"\\u0078\"}"));
        assert_ne!(one, digest(r#"{"topic":"x","labels":{"a":"1","b":"3"}}"#));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!(r#"{{"topic":"x","settings":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
        assert!(read(deep.as_bytes(), Some("key"), &catalog()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, Some("key"), &catalog());
        }

        #[test]
        fn any_json_gets_an_answer(
            topic in any::<String>(), name in "[a-z]{0,8}", text in any::<String>(), n in any::<f64>()
        ) {
            for json in [
                serde_json::json!({"topic": topic, "labels": {text.as_str(): text}, name.as_str(): n}),
                serde_json::json!({"topic": topic, "run_at": text, "priority": n, "settings": {name: n}}),
                serde_json::json!([topic, n]),
            ] {
                let _ = read(json.to_string().as_bytes(), Some("key"), &catalog());
            }
        }
    }
}
