//! What every rate limiter does, and what the one on Redis does for a fleet.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use quillwork_app::ports::rate_limiter::{Decision, Rate, RateLimiter};
use quillwork_providers::rate_limit::memory::MemoryLimiter;
use quillwork_providers::rate_limit::redis::RedisLimiter;
use quillwork_providers::redis_server::RedisServer;
use quillwork_test_servers::Redis;
use uuid::Uuid;

/// Long, so that only a server that is away is found away.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn server(url: &str) -> RedisServer {
    RedisServer::new(url.parse().unwrap(), CALL_TIMEOUT).unwrap()
}

/// Another process, as far as Redis can tell.
pub(crate) fn process(redis: &Redis) -> RedisLimiter {
    RedisLimiter::new(server(redis.url()))
}

/// One per hour: a test does not see the budget grow.
pub(crate) fn hourly(burst: u32) -> Rate {
    Rate::new(1, Duration::from_secs(3_600), burst).unwrap()
}

pub(crate) fn key(name: &str) -> String {
    format!("{name} {}", Uuid::now_v7())
}

#[tokio::test]
async fn memory_conforms() {
    conforms(Arc::new(MemoryLimiter::default())).await;
}

#[tokio::test]
async fn redis_conforms() {
    conforms(Arc::new(process(Redis::shared()))).await;
}

/// The contract of the port.
async fn conforms(limiter: Arc<dyn RateLimiter>) {
    the_burst_passes_and_no_more(limiter.as_ref()).await;
    waiting_as_told_is_enough(limiter.as_ref()).await;
    a_request_takes_all_or_nothing(limiter.as_ref()).await;
    any_text_is_a_key_of_its_own(limiter.as_ref()).await;
    many_at_once_take_the_burst_exactly(limiter).await;
}

async fn the_burst_passes_and_no_more(limiter: &dyn RateLimiter) {
    let (key, rate) = (key("burst"), hourly(3));
    for _ in 0..3 {
        assert_eq!(limiter.acquire(&key, rate, 1).await, Decision::Allowed);
    }
    for _ in 0..2 {
        let decision = limiter.acquire(&key, rate, 1).await;
        let Decision::Denied { retry_after } = decision else { panic!("{decision:?}") };
        assert!(!retry_after.is_zero() && retry_after <= Duration::from_secs(3_600), "{retry_after:?}");
    }
}

async fn waiting_as_told_is_enough(limiter: &dyn RateLimiter) {
    let (key, rate) = (key("wait"), Rate::new(20, Duration::from_secs(1), 1).unwrap());
    let mut n_denied = 0;
    while n_denied < 3 {
        if let Decision::Denied { retry_after } = limiter.acquire(&key, rate, 1).await {
            n_denied += 1;
            tokio::time::sleep(retry_after).await;
            assert_eq!(limiter.acquire(&key, rate, 1).await, Decision::Allowed);
        }
    }
}

async fn a_request_takes_all_or_nothing(limiter: &dyn RateLimiter) {
    let (key, rate) = (key("several"), hourly(5));
    assert_eq!(limiter.acquire(&key, rate, 6).await, Decision::NEVER);
    assert_eq!(limiter.acquire(&key, rate, 3).await, Decision::Allowed);
    assert_ne!(limiter.acquire(&key, rate, 3).await, Decision::Allowed);
    assert_eq!(limiter.acquire(&key, rate, 2).await, Decision::Allowed);
    assert_eq!(limiter.acquire(&key, rate, 0).await, Decision::Allowed);
    assert_ne!(limiter.acquire(&key, rate, 1).await, Decision::Allowed);
}

async fn any_text_is_a_key_of_its_own(limiter: &dyn RateLimiter) {
    let long = "k".repeat(10_000);
    let texts = [
        "",
        " ",
        "  ",
        "a b",
        "a\nb",
        "a\r\nSET x 1\r\n",
        "a\0b",
        "*",
        "{a}",
        "ключ",
        "\u{1F511}",
        "'; return 0 --",
        &long,
    ];
    let unique = key("");
    for text in texts {
        let key = format!("{text}{unique}{text}");
        assert_eq!(limiter.acquire(&key, hourly(1), 1).await, Decision::Allowed, "{text:?}");
        assert_ne!(limiter.acquire(&key, hourly(1), 1).await, Decision::Allowed, "{text:?}");
    }
}

async fn many_at_once_take_the_burst_exactly(limiter: Arc<dyn RateLimiter>) {
    let key = key("many");
    let calls = (0..100).map(|_| limiter.acquire(&key, hourly(40), 1));
    let decisions = futures::future::join_all(calls).await;
    assert_eq!(decisions.iter().filter(|decision| **decision == Decision::Allowed).count(), 40);
}

#[tokio::test]
async fn processes_on_one_redis_share_one_budget() {
    let processes = [process(Redis::shared()), process(Redis::shared()), process(Redis::shared())];
    let (key, rate) = (key("fleet"), hourly(50));
    let calls = (0..50).flat_map(|_| processes.iter().map(|process| process.acquire(&key, rate, 1)));
    let decisions = futures::future::join_all(calls).await;
    assert_eq!(decisions.iter().filter(|decision| **decision == Decision::Allowed).count(), 50);
    for process in &processes {
        assert_ne!(process.acquire(&key, rate, 1).await, Decision::Allowed);
    }
}

#[tokio::test]
async fn a_redis_that_forgot_the_script_gets_it_again() {
    let redis = Redis::start();
    let processes = [process(&redis), process(&redis)];
    let key = key("script");
    assert_eq!(processes[0].acquire(&key, hourly(2), 1).await, Decision::Allowed);
    let mut admin = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut admin).unwrap();
    assert_eq!(processes[0].acquire(&key, hourly(2), 1).await, Decision::Allowed);
    assert_ne!(processes[1].acquire(&key, hourly(2), 1).await, Decision::Allowed, "the budget is shared");
}

#[tokio::test]
async fn keys_leave_redis_when_their_budget_is_full_again() {
    let redis = Redis::start();
    let process = process(&redis);
    process.acquire("idle", hourly(2), 1).await;
    process.acquire("untouched", hourly(2), 0).await;
    let mut admin = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut admin).unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let ttl: i64 = redis::cmd("PTTL").arg(&keys[0]).query(&mut admin).unwrap();
    assert!((1..=3_600_000).contains(&ttl), "{ttl}");
}

/// The process runs itself with its clock set ahead; the second run takes from the budget of the first.
#[tokio::test]
async fn the_clocks_of_the_processes_do_not_matter() {
    const URL: &str = "QUILLWORK_TEST_SKEWED_REDIS";
    if let Ok(url) = std::env::var(URL) {
        let decision = RedisLimiter::new(server(&url)).acquire("skewed", hourly(2), 1).await;
        println!("a day ahead: {}", decision == Decision::Allowed);
        return;
    }
    let redis = Redis::start();
    let skewed = || {
        let output = Command::new("faketime")
            .args(["-f", "+1d"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "rate_limiter::the_clocks_of_the_processes_do_not_matter"])
            .env(URL, redis.url())
            .output()
            .unwrap_or_else(|error| {
                panic!("cannot run faketime ({error}); run: apt-get install -y faketime")
            });
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("a day ahead: "), "{output:?}");
        text.contains("a day ahead: true")
    };
    let here = process(&redis);
    assert_eq!(here.acquire("skewed", hourly(2), 1).await, Decision::Allowed);
    assert!(skewed(), "one is left");
    assert!(!skewed(), "a day ahead the budget is just as empty");
    assert_ne!(
        here.acquire("skewed", hourly(2), 1).await,
        Decision::Allowed,
        "and here it does not wait for a day"
    );
}
