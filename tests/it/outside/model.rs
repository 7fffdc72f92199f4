//! What a language model can do to a job.

use quillwork_tests::outside::{article, config, events, start, steps};
use quillwork_tests::world::Answer;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::world;

fn job(generation: Value) -> Value {
    json!({"topic": "leap seconds", "settings": {"generation": generation}})
}

#[tokio::test]
async fn an_article_says_which_sources_prompt_and_model_it_is_from() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let id = server.submit(job(json!({}))).await;
    assert_eq!(server.ended(&id).await["status"], "completed");

    let article = article(&server, &id).await;
    assert_eq!((article["method"].as_str(), article["model"].as_str()), (Some("model"), Some("test-1")));
    assert_eq!(article["prompt"]["name"], "article");
    let urls: Vec<&str> =
        article["sources"].as_array().unwrap().iter().map(|source| source["url"].as_str().unwrap()).collect();
    assert_eq!(urls, [world.url("/leap"), world.url("/smear")], "and no trees");
    assert!(
        article["markdown"].as_str().unwrap().contains("## Sources\n\n1. Leap seconds — <http"),
        "{article}"
    );

    let recorded = events(&server, &id, "StepRecorded").await;
    let written = recorded.iter().find(|step| step["step_key"] == "write:1").unwrap();
    assert_eq!(
        written["spent"],
        json!({"provider": "first", "model": "test-1", "input_tokens": 1000, "output_tokens": 200, "cost_micros": 3000, "prices": "test"})
    );
    assert_eq!(written["output"]["prompt"], article["prompt"]);
    let findings = &events(&server, &id, "StageCompleted").await[0]["output"];
    let skipped = findings["skipped"].as_array().unwrap();
    assert_eq!(skipped[0]["path"], world.url("/trees"), "{skipped:?}");
}

#[tokio::test]
async fn a_bad_answer_is_repaired_once_with_what_is_wrong() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    world
        .model(|n, _| if n == 1 { Answer::Text("# Leap\n\nIt is so. [9]".into()) } else { Answer::Faithful });
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let id = server.submit(job(json!({}))).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    let steps = steps(&server, &id).await;
    assert_eq!(steps[steps.len() - 2..], ["write:1", "repair:1"]);
    let asked = world.prompts()[1]["messages"].to_string();
    assert!(asked.contains("It cites [9]; the sources are [1], [2]."), "{asked}");
    let usage = &article(&server, &id).await["usage"];
    assert_eq!(*usage, json!({"input_tokens": 2000, "output_tokens": 400}), "both calls were paid");
}

#[tokio::test]
async fn a_model_that_never_cites_costs_two_calls_an_attempt_and_fails_the_job() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    world.model(|_, _| Answer::Text("I am sorry.".into()));
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let id = server.submit(job(json!({}))).await;
    let job = server.ended(&id).await;
    assert_eq!(
        (job["status"].as_str(), job["error"]["class"].as_str()),
        (Some("failed"), Some("bad_output"))
    );
    assert_eq!(world.model_calls(), 6, "three attempts");
}

#[tokio::test]
async fn a_job_that_allows_it_gets_quotes_instead_and_they_are_labelled() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    world.model(|_, _| Answer::Text(String::new()));
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let id = server.submit(job(json!({"fallback": true}))).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    let article = article(&server, &id).await;
    assert_eq!((article["method"].as_str(), &article["model"]), (Some("extractive"), &Value::Null));
    assert!(article["degraded"].as_str().unwrap().contains("There is no text."), "{article}");
    assert!(article["markdown"].as_str().unwrap().contains("> Degraded: a language model was to write this"));
}

#[tokio::test]
async fn patience_that_a_provider_asks_for_burns_no_attempt() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    let busy =
        json!({"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}});
    world.model(
        move |n, _| if n == 1 { Answer::Failure(429, Some(3), busy.clone()) } else { Answer::Faithful },
    );
    let once = "[pipelines.once]\nstages = [\"research\", { handler = \"generation\", max_attempts = 1 }]";
    let server = start(dir.path(), &config(dir.path(), &world, once));
    let id = server.submit(json!({"topic": "leap seconds", "pipeline": "once"})).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    let failed = events(&server, &id, "StageFailed").await;
    assert_eq!(failed[0]["class"], "rate_limited");
    assert_eq!(world.model_calls(), 2, "nobody asked before the time");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_asked_for_again() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    world.model(|n, _| if n == 1 { Answer::Cut } else { Answer::Faithful });
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let id = server.submit(job(json!({}))).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    assert_eq!(world.model_calls(), 2);
    // What came before the break was billed: it counts, and nothing of it is used.
    let recorded = events(&server, &id, "StepRecorded").await;
    let paid: Vec<&Value> = recorded.iter().filter(|step| step["spent"].is_object()).collect();
    let keys: Vec<&str> = paid.iter().map(|step| step["step_key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["failed:write:1:1.1", "write:1"]);
    let costs: Vec<u64> = paid.iter().map(|step| step["spent"]["cost_micros"].as_u64().unwrap()).collect();
    assert!(costs[0] > 0, "{costs:?}");
    let spent: f64 =
        server.get(&format!("/v1/jobs/{id}/cost")).await["spent_usd"].as_str().unwrap().parse().unwrap();
    assert_eq!((spent * 1e6).round() as u64, costs.iter().sum::<u64>());
}

#[tokio::test]
async fn when_one_model_fails_another_writes_and_the_reason_is_on_the_record() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    let spare = format!(
        "[models.broken]\nurl = \"http://{}/broken\"\nmodel = \"test-1\"\nweight = 1000000",
        world.addr
    );
    world.answer("/broken/chat/completions", 500, "text/plain", "down");
    let server = start(dir.path(), &config(dir.path(), &world, &spare));
    let id = server.submit(job(json!({}))).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    let recorded = events(&server, &id, "StepRecorded").await;
    let written = recorded.iter().find(|step| step["step_key"] == "write:1").unwrap();
    assert_eq!(written["spent"]["provider"], "first");
    let choice = written["output"]["completion"]["choice"].as_str().unwrap();
    assert!(choice.contains("first") && choice.contains("broken"), "{choice}");
}

#[tokio::test]
async fn a_model_that_hangs_is_given_up_in_time_and_asked_again() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    world.model(|n, _| if n == 1 { Answer::Silence } else { Answer::Faithful });
    let path = config(dir.path(), &world, "");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("[models.first]", "[models.first]\nfirst_token_timeout = \"500ms\"");
    std::fs::write(&path, text).unwrap();
    let server = start(dir.path(), &path);
    let id = server.submit(job(json!({}))).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    assert_eq!(world.model_calls(), 2);
}

#[tokio::test]
async fn inventions_are_sent_back_and_the_model_is_told_why() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    let invented = "# The moon\n\nThe moon is made of green cheese, and 400 dwarfs have mined it since the year 1732. [1]\n\nTheir king lives in a castle of butter at the shore of a lake of milk. [2]\n";
    world.model(move |n, _| if n == 1 { Answer::Text(invented.into()) } else { Answer::Faithful });
    let judged = "[pipelines.judged]\nstages = [\"research\", \"generation\", [\"quality\", \"seo\"]]";
    let server = start(dir.path(), &config(dir.path(), &world, judged));
    let quality = json!({"gate": "rework", "min_words": 10});
    let body = json!({"topic": "leap seconds", "pipeline": "judged", "settings": {"quality": quality}});
    let id = server.submit(body).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    let reopened = events(&server, &id, "StagesReopened").await;
    assert_eq!((reopened.len(), reopened[0]["stage"].as_str()), (1, Some("generation")), "{reopened:?}");
    let asked = world.prompts()[1]["messages"].to_string();
    assert!(asked.contains("was refused") && asked.contains("green cheese"), "{asked}");
    let markdown = article(&server, &id).await["markdown"].to_string();
    assert!(markdown.contains("leap second") && !markdown.contains("cheese"), "{markdown}");
}
