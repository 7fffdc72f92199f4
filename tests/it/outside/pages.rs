//! What pages and searches can do to a job.

use quillwork_tests::outside::{article, config, events, start, steps};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::world;

fn paths(findings: &Value) -> Vec<String> {
    let skipped = findings["skipped"].as_array().unwrap();
    skipped.iter().map(|skipped| skipped["path"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn given_pages_are_read_and_those_that_fail_are_on_the_record() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    world.answer("/robots.txt", 200, "text/plain", "User-agent: *\nDisallow: /private\n");
    world.page("/private", "Leap seconds in private", &["A leap second is nobody's business but ours."], &[]);
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let urls = ["/leap", "/private", "/gone"].map(|path| world.url(path));
    let body = json!({"topic": "leap seconds", "settings": {"research": {"urls": urls}, "generation": {"method": "extractive"}}});
    let id = server.submit(body).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    let findings = &events(&server, &id, "StageCompleted").await[0]["output"];
    assert_eq!(paths(findings), [world.url("/private"), world.url("/gone")]);
    assert!(findings["skipped"][0]["reason"].as_str().unwrap().contains("robots.txt"), "{findings}");
    assert!(!world.counts().contains_key("GET /search"), "pages were given, so nothing was searched");
    assert!(!world.counts().contains_key("GET /private"));
}

#[tokio::test]
async fn a_site_is_read_from_link_to_link() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let site = json!({"url": world.url("/smear"), "depth": 1});
    let body = json!({"topic": "leap seconds", "settings": {"research": {"site": site}, "generation": {"method": "extractive"}}});
    let id = server.submit(body).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    let mut read = steps(&server, &id).await;
    read.sort();
    assert_eq!(read, ["/leap", "/smear", "/trees"].map(|path| format!("fetch:{}", world.url(path))));
    let sources = &article(&server, &id).await["sources"];
    assert!(
        sources.as_array().unwrap().iter().all(|source| source["url"] != world.url("/trees")),
        "{sources}"
    );
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_notation() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    // The world itself is allowed by its address and port; these are other ways to the same machine, and others.
    let urls = [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://10.0.0.1/",
    ];
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let id = server.submit(json!({"topic": "leap seconds", "settings": {"research": {"urls": urls}}})).await;
    let job = server.ended(&id).await;
    assert_eq!(job["error"]["class"], "no_sources_found", "{job}");
    let recorded = events(&server, &id, "StepRecorded").await;
    assert_eq!(recorded.len(), 7, "four of them are one address: {recorded:?}");
    assert!(recorded.iter().all(|step| step["output"]["skipped"].is_string()), "{recorded:?}");
}

#[tokio::test]
async fn what_was_found_and_read_serves_other_jobs_until_one_asks_anew() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let body = |research: Value, generation: Value| json!({"topic": "leap seconds", "settings": {"research": research, "generation": generation}});
    // A search may turn several pages of results.
    let mut per_search = None;
    for (research, generation, times) in [
        (json!({}), json!({}), 1),
        (json!({}), json!({"max_words": 300}), 1),
        (json!({"cache": "bypass"}), json!({}), 2),
    ] {
        let id = server.submit(body(research, generation)).await;
        assert_eq!(server.ended(&id).await["status"], "completed");
        let counts = world.counts();
        let searches = *per_search.get_or_insert(counts["GET /search"]);
        assert_eq!((counts["GET /search"], counts["GET /leap"]), (times * searches, times));
    }
}

#[tokio::test]
async fn a_page_that_could_not_be_had_is_asked_for_again_when_the_job_is_retried() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let urls = ["/leap", "/late"].map(|path| world.url(path));
    let research = json!({"urls": urls, "min_sources": 2});
    let settings = json!({"research": research, "generation": {"method": "extractive"}});
    let id = server.submit(json!({"topic": "leap seconds", "settings": settings})).await;
    assert_eq!(server.ended(&id).await["error"]["class"], "no_sources_found");
    world.page(
        "/late",
        "Late leap seconds",
        &["A leap second that comes late is a leap second all the same, and clocks wait for it."],
        &[],
    );
    assert_eq!(server.post(&format!("/v1/jobs/{id}/retry"), json!({})).await.status(), 202);
    assert_eq!(server.ended(&id).await["status"], "completed");
    let counts = world.counts();
    assert_eq!((counts["GET /leap"], counts["GET /late"]), (1, 2), "what was read stays read");
}

#[tokio::test]
async fn a_site_that_moved_is_read_where_it_is() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    world.answer("/old", 301, &world.url("/smear"), "");
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let site = json!({"url": world.url("/old"), "depth": 1});
    let body = json!({"topic": "leap seconds", "settings": {"research": {"site": site}, "generation": {"method": "extractive"}}});
    let id = server.submit(body).await;
    assert_eq!(server.ended(&id).await["status"], "completed");
    assert_eq!(world.counts()["GET /leap"], 1);
}
