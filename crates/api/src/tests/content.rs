//! What readers do with articles.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use quillwork_domain::id::StreamId;
use serde_json::{Value, json};

use super::problems::check;
use super::service::{Answer, Service};

/// The path of the article of a new job, which the read model shows as completed.
async fn article(service: &Service, topic: &str) -> String {
    let job = service.submit(&json!({"topic": topic}).to_string()).await;
    let done = service.get(&format!("{job}?wait=10s")).await.json();
    assert_eq!(done["status"], "completed");
    job.replace("/v1/jobs/", "/v1/content/")
}

async fn rate(service: &Service, article: &str, key: &str, body: &Value) -> Answer {
    let request = Request::post(format!("{article}/ratings")).header("content-type", "application/json");
    let request = request.header("idempotency-key", key).body(Body::from(body.to_string()));
    service.send(request.unwrap()).await
}

/// What is known of an article, once the read model shows what was answered.
async fn analytics(service: &Service, article: &str, answer: &Answer) -> Value {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let position = &answer.json()["position"];
    let shown = service.get(&format!("{article}/analytics?min_position={position}")).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    shown.json()
}

#[tokio::test]
async fn views_and_ratings_are_shown() {
    let service = Service::start().await;
    let article = article(&service, "article").await;
    let unread = service.get(&format!("{article}/analytics")).await.json();
    assert_eq!((&unread["views"], &unread["ratings"]), (&json!(0), &json!(0)));
    assert_eq!((&unread["average_rating"], &unread["seo_score"]), (&json!(null), &json!(null)));
    assert!(unread["updated_at"].is_string());
    assert_eq!(article, format!("/v1/content/{}", unread["id"].as_str().unwrap()));

    assert_eq!(service.post(&format!("{article}/views"), "").await.status, 202);
    let many = service.post(&format!("{article}/views"), "{\"count\":1000}").await;
    assert_eq!(analytics(&service, &article, &many).await["views"], 1_001);
    for (body, ratings, average) in [
        (json!({"stars": 5, "rater": "ann"}), 1, 5.0),
        (json!({"stars": 2, "rater": "bob"}), 2, 3.5),
        (json!({"stars": 4, "rater": "ann"}), 2, 3.0),
        (json!({"stars": 3}), 3, 3.0),
        (json!({"stars": 1}), 4, 2.5),
    ] {
        let rated = service.post(&format!("{article}/ratings"), &body.to_string()).await;
        let shown = analytics(&service, &article, &rated).await;
        assert_eq!(
            (&shown["ratings"], &shown["average_rating"]),
            (&json!(ratings), &json!(average)),
            "{body}"
        );
    }
    let page = service.get("/v1/events?kinds=ContentViewed,ContentRated").await.json();
    let events = page["items"].as_array().unwrap();
    let (first, ann) = (&events[0], &events[2]);
    let stream = format!("content-{}", unread["id"].as_str().unwrap());
    assert_eq!((&first["stream"], &first["actor"]), (&json!(stream), &json!("readers")));
    assert_eq!((&ann["actor"], &ann["data"]["stars"]), (&json!("client"), &json!(5)));
    assert!(!page.to_string().contains("\"ann\""), "{page}");
    // What readers do is no part of the job.
    let job = unread["id"].as_str().unwrap();
    assert_eq!(
        service.get(&format!("/v1/jobs/{job}/events")).await.json()["items"].as_array().unwrap().len(),
        6
    );
}

#[tokio::test]
async fn thousands_of_views_at_once_are_few_events() {
    const VIEWS: usize = 5_000;
    let service = Arc::new(Service::start().await);
    let article = article(&service, "article").await;
    // The commit of the first one takes until all the others wait.
    service.log.set_held(true);
    let view = || {
        let (service, path) = (service.clone(), format!("{article}/views"));
        tokio::spawn(async move { service.post(&path, "").await })
    };
    let views: Vec<_> = (0..VIEWS).map(|_| view()).collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    service.log.set_held(false);
    let mut positions = BTreeSet::new();
    for view in views {
        let answer = view.await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text);
        positions.insert(answer.json()["position"].as_u64().unwrap());
    }
    let last = positions.last().unwrap();
    let shown = service.get(&format!("{article}/analytics?min_position={last}")).await.json();
    assert_eq!(shown["views"], VIEWS);
    let n_events = service.log.n_events("ContentViewed");
    assert_eq!(n_events, positions.len());
    assert!(n_events < VIEWS / 100, "{n_events} events");
}

#[tokio::test]
async fn lists_are_in_order_and_in_pages() {
    let service = Service::start().await;
    let (one, two) = (article(&service, "a").await, article(&service, "b").await);
    // Nobody viewed it.
    article(&service, "c").await;
    service.post(&format!("{one}/views"), "{\"count\":7}").await;
    service.post(&format!("{two}/views"), "{\"count\":9}").await;
    // In another millisecond, or they were updated at the same time.
    let viewed_at = quillwork_app::clock::now();
    while quillwork_app::clock::now() == viewed_at {
        tokio::task::yield_now().await;
    }
    let last = service.post(&format!("{one}/ratings"), "{\"stars\":3}").await;
    let position = &last.json()["position"];
    let list = async |sort: &str, limit: u32| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let query = format!("/v1/content?sort={sort}&limit={limit}&min_position={position}{cursor}");
            let page = service.get(&query).await;
            assert_eq!(page.status, 200, "{}", page.text);
            let page = page.json();
            let ids = page["items"].as_array().unwrap().iter();
            found.extend(ids.map(|item| format!("/v1/content/{}", item["id"].as_str().unwrap())));
            let Some(next) = page["next_cursor"].as_str() else { return found };
            cursor = format!("&cursor={next}");
        }
    };
    for limit in [1, 50] {
        assert_eq!(list("views", limit).await, [two.clone(), one.clone()]);
        assert_eq!(list("rating", limit).await, [one.clone(), two.clone()]);
        assert_eq!(list("updated", limit).await, [one.clone(), two.clone()]);
    }
}

#[tokio::test]
async fn a_rating_that_is_sent_twice_counts_once() {
    let service = Service::start().await;
    let (one, two) = (article(&service, "a").await, article(&service, "b").await);
    let first = rate(&service, &one, "k", &json!({"stars": 4})).await;
    let again = rate(&service, &one, "k", &json!({"stars": 4})).await;
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(analytics(&service, &one, &again).await["ratings"], 1);
    // Another rating, of another article, of somebody, and a job.
    check(&rate(&service, &one, "k", &json!({"stars": 5})).await, 422, "idempotency-key-reused");
    check(&rate(&service, &two, "k", &json!({"stars": 4})).await, 422, "idempotency-key-reused");
    let of_ann = json!({"stars": 4, "rater": "ann"});
    check(&rate(&service, &one, "k", &of_ann).await, 422, "idempotency-key-reused");
    let request = Request::post("/v1/jobs").header("content-type", "application/json");
    let request = request.header("idempotency-key", "k").body(Body::from("{\"topic\":\"x\"}")).unwrap();
    check(&service.send(request).await, 422, "idempotency-key-reused");
    assert_eq!(analytics(&service, &one, &again).await["ratings"], 1);
}

#[tokio::test]
async fn only_a_completed_job_has_an_article() {
    let service = Service::start().await;
    let unknown = "/v1/content/0190aaaa-0000-7000-8000-000000000001";
    let hanging = service.submit("{\"topic\":\"hang\"}").await.replace("/v1/jobs/", "/v1/content/");
    let failed = service.submit("{\"topic\":\"fail\"}").await;
    service.get(&format!("{failed}?wait=10s")).await;
    let failed = failed.replace("/v1/jobs/", "/v1/content/");
    for (path, status, kind) in [
        (unknown, 404, "unknown-job"),
        ("/v1/content/nonsense", 404, "unknown-job"),
        ("/v1/content/00000000-0000-0000-0000-000000000000", 404, "unknown-job"),
        (&hanging, 409, "not-finished"),
        (&failed, 409, "no-result"),
    ] {
        check(&service.post(&format!("{path}/views"), "").await, status, kind);
        check(&service.post(&format!("{path}/ratings"), "{\"stars\":3}").await, status, kind);
        check(&service.get(&format!("{path}/analytics")).await, status, kind);
    }
    // The stream of an article is no job's.
    let article = article(&service, "a").await;
    service.post(&format!("{article}/views"), "").await;
    let stored = article.replace("/v1/content/", "");
    let stored = StreamId::Content(stored.parse().unwrap()).to_uuid();
    check(&service.get(&format!("/v1/jobs/{stored}/events")).await, 404, "unknown-job");
}

#[tokio::test]
async fn mistakes_are_named() {
    let service = Service::start().await;
    let article = article(&service, "a").await;
    let (long, most) = ("ä".repeat(65), "ä".repeat(64));
    for (what, body, field) in [
        ("views", json!({"count": 0}), "count"),
        ("views", json!({"count": 1_001}), "count"),
        ("views", json!({"count": -1}), "count"),
        ("views", json!({"count": 1.5}), "count"),
        ("views", json!({"stars": 1}), "stars"),
        ("ratings", json!({}), "stars"),
        ("ratings", json!({"stars": 0}), "stars"),
        ("ratings", json!({"stars": 6}), "stars"),
        ("ratings", json!({"stars": 257}), "stars"),
        ("ratings", json!({"stars": -1}), "stars"),
        ("ratings", json!({"stars": "5"}), "stars"),
        ("ratings", json!({"stars": 5, "rater": ""}), "rater"),
        ("ratings", json!({"stars": 5, "rater": "a\nb"}), "rater"),
        ("ratings", json!({"stars": 5, "rater": long}), "rater"),
        ("ratings", json!({"stars": 5, "count": 1}), "count"),
    ] {
        let answer = service.post(&format!("{article}/{what}"), &body.to_string()).await;
        check(&answer, 422, "validation");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{what} {body}");
    }
    check(&rate(&service, &article, "a b", &json!({"stars": 5})).await, 422, "validation");
    check(&service.post(&format!("{article}/ratings"), "").await, 400, "malformed-json");
    for query in ["?sort=best", "?cursor=x", "?limit=0", "?limit=501", "?colour=red", "?min_position=999"] {
        check(&service.get(&format!("/v1/content{query}")).await, 422, "validation");
    }
    check(&service.get(&format!("{article}/analytics?min_position=999")).await, 422, "validation");
    assert_eq!(service.get("/v1/content").await.json()["items"], json!([]));
    let longest = json!({"stars": 5, "rater": most}).to_string();
    assert_eq!(service.post(&format!("{article}/ratings"), &longest).await.status, 202);
}

#[tokio::test]
async fn nothing_is_counted_that_is_not_on_disk() {
    let service = Service::start().await;
    let article = article(&service, "a").await;
    service.log.set_full(true);
    check(&service.post(&format!("{article}/views"), "").await, 503, "unavailable");
    check(&service.post(&format!("{article}/ratings"), "{\"stars\":3}").await, 503, "unavailable");
    service.log.set_full(false);
    let viewed = service.post(&format!("{article}/views"), "").await;
    let shown = analytics(&service, &article, &viewed).await;
    assert_eq!((&shown["views"], &shown["ratings"]), (&json!(1), &json!(0)));
}
