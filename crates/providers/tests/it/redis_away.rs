//! A Redis that goes away, comes back, refuses or hangs: work goes on, the log says it once, no password is shown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quillwork_app::ports::cache::{Cache as _, CacheKey};
use quillwork_app::ports::rate_limiter::{Decision, RateLimiter};
use quillwork_providers::cache::memory::MemoryCache;
use quillwork_providers::cache::redis::RedisCache;
use quillwork_providers::cache::tiers::Tiers;
use quillwork_providers::rate_limit::redis::RedisLimiter;
use quillwork_providers::redis_server::{CALL_TIMEOUT, RedisServer};
use quillwork_test_servers::Redis;

use crate::log::Log;
use crate::rate_limiter::{hourly, key, process, server};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until what one process takes is taken for the other.
async fn shared_again(one: &dyn RateLimiter, other: &dyn RateLimiter) {
    let share = async {
        loop {
            let key = key("again");
            one.acquire(&key, hourly(1), 1).await;
            if other.acquire(&key, hourly(1), 1).await != Decision::Allowed {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, share).await.expect("the processes should share again");
}

#[tokio::test]
async fn work_goes_on_without_redis_and_is_shared_when_it_is_back() {
    let log = Log::listen();
    let redis = Redis::start();
    let [one, other] = [process(&redis), process(&redis)];
    let shared = key("shared");
    assert_eq!(one.acquire(&shared, hourly(1), 1).await, Decision::Allowed);
    assert_ne!(other.acquire(&shared, hourly(1), 1).await, Decision::Allowed);
    assert_eq!((log.count("WARN"), log.count("INFO")), (0, 0), "{}", log.text());

    redis.kill();
    let alone = key("alone");
    for process in [&one, &other] {
        for _ in 0..20 {
            assert_eq!(process.acquire(&alone, hourly(20), 1).await, Decision::Allowed);
        }
        assert_ne!(
            process.acquire(&alone, hourly(20), 1).await,
            Decision::Allowed,
            "a limit holds all the same"
        );
    }
    assert_eq!((log.count("WARN"), log.count("INFO")), (2, 0), "once per process: {}", log.text());

    redis.start_again();
    shared_again(&one, &other).await;
    shared_again(&other, &one).await;
    assert_eq!((log.count("WARN"), log.count("INFO")), (2, 2), "once per process: {}", log.text());
}

#[tokio::test]
async fn a_redis_that_was_never_there_is_found_when_it_comes() {
    let redis = Redis::start();
    redis.kill();
    let [one, other] = [process(&redis), process(&redis)];
    assert_eq!(one.acquire("early", hourly(1), 1).await, Decision::Allowed);
    assert_eq!(other.acquire("early", hourly(1), 1).await, Decision::Allowed);
    redis.start_again();
    shared_again(&one, &other).await;
}

#[tokio::test]
async fn a_cache_without_redis_is_empty_or_keeps_to_memory() {
    let redis = Redis::start();
    let server = server(redis.url());
    let alone = RedisCache::new(server.clone());
    let tiers = Tiers::new(vec![Arc::new(MemoryCache::new(1_000_000)), Arc::new(alone.clone())]);
    let (key, hour) = (CacheKey::new("test", &[b"key"]), Duration::from_secs(3_600));
    tiers.put(&key, Bytes::from_static(b"before"), hour).await;
    redis.kill();
    assert_eq!(alone.get(&key).await, None);
    assert_eq!(tiers.get(&key).await.as_deref(), Some(&b"before"[..]));
    tiers.put(&key, Bytes::from_static(b"meanwhile"), hour).await;
    assert_eq!(tiers.get(&key).await.as_deref(), Some(&b"meanwhile"[..]));
    tiers.remove(&key).await;
    assert_eq!(tiers.get(&key).await, None);

    redis.start_again();
    let back = async {
        while alone.get(&key).await.is_none() {
            alone.put(&key, Bytes::from_static(b"after"), hour).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("Redis should be found again");
    assert_eq!(tiers.get(&key).await.as_deref(), Some(&b"after"[..]));
}

#[tokio::test]
async fn nobody_waits_long_for_a_server_that_says_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let limiter = RedisLimiter::new(RedisServer::new(url.parse().unwrap(), CALL_TIMEOUT).unwrap());
    let calls = async {
        for _ in 0..1_000 {
            assert_eq!(limiter.acquire("key", hourly(1_000), 1).await, Decision::Allowed);
        }
    };
    tokio::time::timeout(PATIENCE, calls).await.expect("most calls should not wait at all");
}

#[tokio::test]
async fn a_redis_that_refuses_work_is_away_and_reported_once() {
    let log = Log::listen();
    let redis = Redis::start();
    let mut admin = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).exec(&mut admin).unwrap();
    let [one, other] = [process(&redis), process(&redis)];
    let connections = |admin: &mut redis::Connection| -> u64 {
        let info: String = redis::cmd("INFO").arg("stats").query(admin).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
        line.parse().unwrap()
    };
    let before = connections(&mut admin);
    // Until it has connected again, at least: that alone is no recovery.
    let refused = async {
        while connections(&mut admin) < before + 3 {
            one.acquire("full", hourly(8_000), 1).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("it should try again");
    assert_eq!((log.count("WARN"), log.count("INFO")), (1, 0), "{}", log.text());
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(0).exec(&mut admin).unwrap();
    shared_again(&one, &other).await;
    assert_eq!(log.count("INFO"), log.count("WARN"), "{}", log.text());
}

#[tokio::test]
async fn a_password_is_never_shown() {
    let log = Log::listen();
    let redis = Redis::start();
    let with_password = redis.url().replace("redis://", "redis://user:hunter%402@");
    for away in [false, true] {
        if away {
            redis.kill();
        }
        let limiter = RedisLimiter::new(server(&with_password));
        assert_eq!(limiter.acquire("key", hourly(1), 1).await, Decision::Allowed);
        assert_ne!(limiter.acquire("key", hourly(1), 1).await, Decision::Allowed, "its own budget");
    }
    let text = log.text();
    assert_eq!(log.count("WARN"), 2, "{text}");
    assert_eq!(log.count("redis://***@127.0.0.1:"), 2, "{text}");
    assert!(!text.contains("hunter"), "{text}");
}
