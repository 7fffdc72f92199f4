//! Several processes on one Redis ask the same at once.

use quillwork_providers::cache::redis::RedisCache;
use quillwork_test_servers::Redis;
use tokio::task::JoinHandle;

use super::*;
use crate::rate_limiter::server;

/// One process of the fleet.
fn process(redis: &Redis, outside: &Outside) -> Arc<CachedSearch> {
    let server = server(redis.url());
    let tiers = Tiers::new(vec![memory(), Arc::new(RedisCache::new(server.clone()))]);
    let answers = Answers::new(Arc::new(tiers), Ttls::default(), CacheMetrics::default());
    cached(outside, &Arc::new(answers.across_fleet(server)))
}

type Asking = JoinHandle<Result<Findings, ProviderError>>;

fn ask(process: &Arc<CachedSearch>) -> Asking {
    let process = process.clone();
    tokio::spawn(async move { search(&*process, "topic").await })
}

fn connection(redis: &Redis) -> redis::Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

/// Waits until Redis has done a command so often.
async fn done(redis: &Redis, command: &str, times: u64) {
    let mut connection = connection(redis);
    let done = async {
        loop {
            let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
            let of_command = format!("cmdstat_{command}:");
            let line = stats.lines().find_map(|line| line.strip_prefix(&of_command)).unwrap_or_default();
            let number = |name: &str| -> u64 {
                let field = line.split(',').find_map(|field| field.strip_prefix(name));
                field.map_or(0, |number| number.parse().unwrap())
            };
            if number("calls=") - number("failed_calls=") >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("it is never done");
}

fn locks(redis: &Redis) -> Vec<String> {
    redis::cmd("KEYS").arg("quillwork:lock:*").query(&mut connection(redis)).unwrap()
}

/// One process that asks, and another that waits for it.
async fn two(redis: &Redis, outside: &Outside) -> [(Arc<CachedSearch>, Asking); 2] {
    let [one, other] = [process(redis, outside), process(redis, outside)];
    let asking = ask(&one);
    outside.entered().await;
    let waiting = ask(&other);
    // Both have tried to take the lock.
    done(redis, "set", 2).await;
    assert_eq!(outside.calls(), 1);
    [(one, asking), (other, waiting)]
}

#[tokio::test]
async fn one_call_is_made_for_the_fleet() {
    let (redis, outside) = (Redis::start(), Outside::gated(0));
    let [(_, asking), (_, waiting)] = two(&redis, &outside).await;
    outside.let_go(1);
    let answer = asking.await.unwrap().unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), answer);
    assert_eq!(outside.calls(), 1);
    done(&redis, "evalsha", 1).await;
    assert_eq!(locks(&redis).len(), 0, "it is given back");
}

#[tokio::test]
async fn a_process_that_fails_or_gives_up_lets_another_ask() {
    for fails in [true, false] {
        let (redis, outside) = (Redis::start(), Outside::gated(u32::from(fails)));
        let [(_, asking), (_, waiting)] = two(&redis, &outside).await;
        if fails {
            outside.let_go(1);
            asking.await.unwrap().unwrap_err();
        } else {
            asking.abort();
        }
        outside.entered().await;
        outside.let_go(1);
        waiting.await.unwrap().unwrap();
        assert_eq!(outside.calls(), 2);
    }
}

/// As when its time is up because whoever took it hangs.
#[tokio::test]
async fn a_lost_lock_costs_a_second_call() {
    let (redis, outside) = (Redis::start(), Outside::gated(0));
    let [(_, asking), (_, waiting)] = two(&redis, &outside).await;
    let taken = locks(&redis);
    assert_eq!(taken.len(), 1);
    redis::cmd("DEL").arg(&taken).exec(&mut connection(&redis)).unwrap();
    outside.entered().await;
    outside.let_go(1);
    asking.await.unwrap().unwrap();
    done(&redis, "evalsha", 1).await;
    assert_eq!(locks(&redis), taken, "nobody gives back what is another's");
    outside.let_go(1);
    waiting.await.unwrap().unwrap();
    assert_eq!(outside.calls(), 2);
}

#[tokio::test]
async fn work_goes_on_when_redis_is_killed_in_the_middle() {
    let (redis, outside) = (Redis::start(), Outside::gated(0));
    let [(one, asking), (other, waiting)] = two(&redis, &outside).await;
    redis.kill();
    outside.entered().await;
    outside.let_go(2);
    asking.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    // From the memory of each.
    for process in [one, other] {
        search(&*process, "topic").await.unwrap();
    }
    assert_eq!(outside.calls(), 2);
}
