//! What is asked through the cache, and how often the outside world hears of it.

mod fleet;
mod flights;
mod model;
mod outside;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use quillwork_app::ports::cache::{Cache, CacheKey, Hit, Tier};
use quillwork_app::ports::call::{CacheUse, Call};
use quillwork_app::ports::fetch::{Fetch, Fetched};
use quillwork_app::ports::provider::{ProviderError, Unwatched};
use quillwork_app::ports::search::{Findings, Query, Search};
use quillwork_providers::cache::NAMESPACES;
use quillwork_providers::cache::answers::{Answers, Ttls};
use quillwork_providers::cache::fetch::CachedFetch;
use quillwork_providers::cache::memory::MemoryCache;
use quillwork_providers::cache::metrics::CacheMetrics;
use quillwork_providers::cache::search::CachedSearch;
use quillwork_providers::cache::tiers::Tiers;

use outside::{Outside, Recorded};

/// Longer than any test.
const PATIENCE: Duration = Duration::from_secs(30);

fn memory() -> Arc<dyn Cache> {
    Arc::new(MemoryCache::new(64 * 1024 * 1024))
}

fn answers(cache: Arc<dyn Cache>) -> Arc<Answers> {
    Arc::new(Answers::new(cache, Ttls::default(), CacheMetrics::default()))
}

fn cached(outside: &Outside, answers: &Arc<Answers>) -> Arc<CachedSearch> {
    Arc::new(CachedSearch::new(Arc::new(outside.clone()), "scope".into(), answers.clone()))
}

fn call() -> Call {
    Call::within(PATIENCE)
}

fn bypassing() -> Call {
    Call { cache: CacheUse::Bypass, ..call() }
}

fn query(topic: &str) -> Query {
    Query { topic: topic.into(), max_sources: 4, max_passages: 6 }
}

async fn search(search: &dyn Search, topic: &str) -> Result<Findings, ProviderError> {
    answered(search.search(&query(topic), &call(), &Unwatched)).await
}

/// Fails instead of hanging.
async fn answered<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.expect("there is no answer")
}

#[tokio::test]
async fn the_same_question_is_asked_once() {
    let outside = Outside::default();
    let answers = answers(memory());
    let cached = cached(&outside, &answers);
    let first = search(&*cached, "HTTP caching").await.unwrap();
    for same in ["HTTP caching", " http  CACHING\n"] {
        assert_eq!(search(&*cached, same).await.unwrap(), first);
    }
    assert_eq!(outside.calls(), 1);
    for other in ["HTTP", "HTTPcaching", ""] {
        search(&*cached, other).await.unwrap();
    }
    let larger = Query { max_sources: 5, ..query("HTTP caching") };
    cached.search(&larger, &call(), &Unwatched).await.unwrap();
    let elsewhere = CachedSearch::new(Arc::new(outside.clone()), "other".into(), answers);
    search(&elsewhere, "HTTP caching").await.unwrap();
    assert_eq!(outside.calls(), 6);
}

#[tokio::test]
async fn the_same_page_is_read_once() {
    let outside = Outside::default();
    let cached = CachedFetch::new(Arc::new(outside.clone()), String::new(), answers(memory()));
    for url in ["https://a.example/?b=1&a=2#top", "https://A.example:443/?a=2&b=1&utm_source=x"] {
        assert!(matches!(cached.fetch(url, &call()).await.unwrap(), Fetched::Page(_)));
    }
    assert_eq!(outside.calls(), 1);
    for url in ["http://a.example/?a=2&b=1", "no address", "no address"] {
        cached.fetch(url, &call()).await.unwrap();
    }
    assert_eq!(outside.calls(), 4, "what is no address is refused by whoever fetches");
}

#[tokio::test]
async fn answers_are_kept_as_long_as_their_kind_is_good() {
    let ttls = Ttls {
        search: Duration::from_secs(1),
        page: Duration::from_secs(2),
        completion: Duration::from_secs(3),
        negative: Duration::from_secs(4),
    };
    let recorded = Arc::new(Recorded::default());
    let answers = Arc::new(Answers::new(recorded.clone(), ttls, CacheMetrics::default()));
    let outside = Outside::default();
    let searches = cached(&outside, &answers);
    let pages = CachedFetch::new(Arc::new(outside.clone()), String::new(), answers);
    search(&*searches, "something").await.unwrap();
    search(&*searches, "nothing").await.unwrap();
    pages.fetch("https://a.example/page", &call()).await.unwrap();
    pages.fetch("https://a.example/nothing", &call()).await.unwrap();
    let put = recorded.put();
    let expected = [("search.v1", 1), ("search.v1", 4), ("page.v1", 2), ("page.v1", 4)];
    assert_eq!(put, expected.map(|(namespace, seconds)| (namespace, Duration::from_secs(seconds))));
}

#[tokio::test]
async fn errors_are_not_kept() {
    let outside = Outside::failing(2);
    let answers = answers(memory());
    let cached = cached(&outside, &answers);
    for _ in 0..2 {
        search(&*cached, "topic").await.unwrap_err();
    }
    for _ in 0..2 {
        search(&*cached, "topic").await.unwrap();
    }
    assert_eq!(outside.calls(), 3);
}

#[tokio::test]
async fn bypassing_asks_again_and_keeps_the_new_answer() {
    let outside = Outside::default();
    let answers = answers(memory());
    let cached = cached(&outside, &answers);
    let old = search(&*cached, "topic").await.unwrap();
    let new = cached.search(&query("topic"), &bypassing(), &Unwatched).await.unwrap();
    assert_ne!(old, new);
    assert_eq!(search(&*cached, "topic").await.unwrap(), new);
    assert_eq!(outside.calls(), 2);
}

/// Has something for everyone, and it makes no sense.
struct Garbled;

#[async_trait]
impl Cache for Garbled {
    async fn look_up(&self, _: &CacheKey) -> Option<Hit> {
        Some(Hit { value: Bytes::from_static(b"{\"sources\": 7}"), ttl: PATIENCE, tier: Tier::Redis })
    }

    async fn put(&self, _: &CacheKey, _: Bytes, _: Duration) {}

    async fn remove(&self, _: &CacheKey) {}
}

#[tokio::test]
async fn what_cannot_be_read_is_a_miss() {
    let outside = Outside::default();
    let cached = cached(&outside, &answers(Arc::new(Garbled)));
    for calls in 1..=2 {
        search(&*cached, "topic").await.unwrap();
        assert_eq!(outside.calls(), calls);
    }
}

/// Another process' store.
struct Recently(Vec<(CacheKey, Hit)>);

#[async_trait]
impl Cache for Recently {
    async fn look_up(&self, key: &CacheKey) -> Option<Hit> {
        self.0.iter().find(|(kept, _)| kept == key).map(|(_, hit)| hit.clone())
    }

    async fn put(&self, _: &CacheKey, _: Bytes, _: Duration) {}

    async fn remove(&self, _: &CacheKey) {}

    async fn recent(&self, namespaces: &[&'static str], _: u64) -> Vec<(CacheKey, Hit)> {
        self.0.iter().filter(|(key, _)| namespaces.contains(&key.namespace())).cloned().collect()
    }
}

#[tokio::test]
async fn a_process_starts_with_what_was_used_last() {
    let hit = |text| Hit { value: Bytes::from_static(text), ttl: PATIENCE, tier: Tier::Store };
    let known = CacheKey::new(NAMESPACES[0], &[b"known"]);
    let strange = CacheKey::new("of another version", &[b"strange"]);
    let near = memory();
    let store = Recently(vec![(known, hit(b"known")), (strange, hit(b"strange"))]);
    let tiers = Tiers::new(vec![near.clone(), Arc::new(store)]);
    assert_eq!(tiers.warm_up(&NAMESPACES, 1_000_000).await, 1);
    let warm = near.look_up(&known).await.unwrap();
    assert_eq!((&warm.value[..], warm.tier), (&b"known"[..], Tier::Memory));
    assert!(warm.ttl <= PATIENCE);
    assert_eq!(near.look_up(&strange).await, None);
    assert_eq!(Tiers::new(vec![]).warm_up(&NAMESPACES, 1_000_000).await, 0);
}

#[tokio::test]
async fn hits_are_counted_by_their_tier() {
    let mut registry = Registry::default();
    let metrics = CacheMetrics::register(&mut registry);
    let store: Arc<dyn Cache> = Arc::new(InStore(memory()));
    let outside = Outside::default();
    for starts in 1..=2 {
        let tiers = Tiers::new(vec![memory(), store.clone()]);
        let answers = Arc::new(Answers::new(Arc::new(tiers), Ttls::default(), metrics.clone()));
        let cached = cached(&outside, &answers);
        for _ in 0..3 {
            search(&*cached, "topic").await.unwrap();
        }
        cached.search(&query("topic"), &bypassing(), &Unwatched).await.unwrap();
        assert_eq!(outside.calls(), starts + 1);
    }
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for (outcome, n) in [("miss", 1), ("hit_memory", 4), ("hit_store", 1), ("bypass", 2)] {
        let line = format!("quillwork_cache_requests_total{{kind=\"search\",outcome=\"{outcome}\"}} {n}\n");
        assert!(text.contains(&line), "{line} is not in {text}");
    }
}

/// A memory that passes for a store.
struct InStore(Arc<dyn Cache>);

#[async_trait]
impl Cache for InStore {
    async fn look_up(&self, key: &CacheKey) -> Option<Hit> {
        self.0.look_up(key).await.map(|hit| Hit { tier: Tier::Store, ..hit })
    }

    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration) {
        self.0.put(key, value, ttl).await;
    }

    async fn remove(&self, key: &CacheKey) {
        self.0.remove(key).await;
    }
}

#[tokio::test]
async fn a_hit_fills_the_tiers_before_it() {
    let [near, middle, far] = [memory(), memory(), memory()];
    let tiers = Tiers::new(vec![near.clone(), middle.clone(), Arc::new(InStore(far.clone()))]);
    let key = CacheKey::new("test", &[b"key"]);
    far.put(&key, Bytes::from_static(b"far"), PATIENCE).await;
    assert_eq!(tiers.look_up(&key).await.unwrap().tier, Tier::Store);
    assert_eq!(tiers.look_up(&key).await.unwrap().tier, Tier::Memory);
    for nearer in [near, middle] {
        let hit = nearer.look_up(&key).await.unwrap();
        assert!(hit.ttl <= PATIENCE && hit.value == "far");
    }
}
