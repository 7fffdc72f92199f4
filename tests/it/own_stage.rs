//! The stage that `docs/own-stage.md` adds, as it stands there.

#[path = "../own-stage/keywords.rs"]
mod keywords;

use std::sync::Arc;

use async_trait::async_trait;
use quillwork_app::catalog::CheckSettings;
use quillwork_domain::job::{ErrorClass, Event};
use quillwork_domain::payload::Payload;
use quillwork_tests::stack::{Ground, Handlers, Stack, job};
use quillwork_worker::context::StageContext;
use quillwork_worker::stage::{Stage, StageError, StageHandler, StageInput, StageOutput};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Writes what the test says.
struct Writing(Value);

#[async_trait]
impl Stage for Writing {
    async fn run(&self, _: StageInput, _: &StageContext) -> Result<StageOutput, StageError> {
        StageOutput::new(&self.0)
    }
}

fn handler(name: &'static str, stage: impl Stage) -> StageHandler {
    StageHandler {
        name: name.into(),
        default_concurrency: 4,
        check_settings: CheckSettings::new(|_| Ok(())),
        stage: Arc::new(stage),
    }
}

/// Runs `keywords` after a stage that returns `article`, with settings.
async fn keywords_of(article: Value, settings: Value) -> (Stack, quillwork_domain::id::JobId, Ground) {
    let ground = Ground::sqlite();
    let handlers = Handlers::default()
        .handler(handler("writing", Writing(article)))
        .handler(handler("keywords", keywords::Keywords));
    let stack = Stack::start(&ground, handlers).await;
    let mut submitted = job(&["writing", "keywords"]);
    submitted.settings = Some(RawValue::from_string(settings.to_string()).unwrap().into());
    let id = stack.submit(submitted).await.unwrap().job;
    (stack, id, ground)
}

#[tokio::test]
async fn it_names_the_words_of_the_article() {
    let article =
        json!({"markdown": "Leases expire. A lease that expires is taken; leases are short. Clocks drift."});
    let (stack, id, _ground) = keywords_of(article, json!({"keywords": {"max": 2}})).await;
    stack.ended(id).await;
    let history = stack.history(id).await;
    let output = history.iter().rev().find_map(|event| {
        if let Event::StageCompleted(completed) = event { Some(&completed.output) } else { None }
    });
    let Some(Payload::Inline(output)) = output else { panic!("the output is small") };
    let output: Value = serde_json::from_str(output.get()).unwrap();
    assert_eq!(output, json!({"keywords": [{"term": "leas", "count": 3}, {"term": "expir", "count": 2}]}));
    let kinds = stack.kinds(id).await;
    assert!(kinds.contains(&"StepRecorded".to_owned()), "{kinds:?}");
    stack.stop().await;
}

#[tokio::test]
async fn without_an_article_it_fails_for_good() {
    let (stack, id, _ground) = keywords_of(json!({"text": "no article"}), json!({})).await;
    let error = stack.ended(id).await.error.unwrap();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.message.contains("has produced an article"), "{}", error.message);
    stack.stop().await;
}

#[test]
fn its_settings_are_checked() {
    for (settings, expected) in [
        (json!({}), Ok(())),
        (json!({"max": 100}), Ok(())),
        (json!({"max": 0}), Err("max: expected 1 to 100, got 0".to_owned())),
    ] {
        let settings: keywords::Settings = serde_json::from_value(settings).unwrap();
        assert_eq!(settings.check(), expected);
    }
    assert!(serde_json::from_value::<keywords::Settings>(json!({"min": 1})).is_err());
}

/// What the documentation shows is what these tests run.
#[test]
fn the_documentation_shows_the_code_that_is_tested() {
    let docs = include_str!("../../docs/own-stage.md");
    let stage = include_str!("../own-stage/keywords.rs").replace("quillwork_worker::", "crate::");
    assert!(
        docs.contains(&format!("```rust\n{stage}```")),
        "the stage differs from tests/own-stage/keywords.rs"
    );
    let worker = include_str!("../own-stage/worker.py");
    let python = docs.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut shown = 0;
    for block in python {
        assert!(worker.contains(block), "not in tests/own-stage/worker.py:\n{block}");
        shown += 1;
    }
    assert!(shown > 0);
}
