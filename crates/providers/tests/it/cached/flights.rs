//! Several of one process ask the same at once.

use quillwork_domain::job::ErrorClass;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;

/// Without any cache, so that an answer is handed over or asked for again.
fn uncached(outside: &Outside) -> Arc<CachedSearch> {
    cached(outside, &answers(Arc::new(Tiers::new(vec![]))))
}

type Asking = JoinHandle<Result<Findings, ProviderError>>;

fn ask(cached: &Arc<CachedSearch>, call: Call) -> Asking {
    let cached = cached.clone();
    tokio::spawn(async move { answered(cached.search(&query("topic"), &call, &Unwatched)).await })
}

/// Lets all others come as far as they can: the runtime of a test has one thread.
async fn settled() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// One that asks, and others that wait for it.
async fn boarded(outside: &Outside, cached: &Arc<CachedSearch>, n: usize) -> (Asking, Vec<Asking>) {
    let leader = ask(cached, call());
    outside.entered().await;
    let followers = (0..n).map(|_| ask(cached, call())).collect();
    settled().await;
    assert_eq!(outside.calls(), 1);
    (leader, followers)
}

#[tokio::test]
async fn one_call_is_made_for_all() {
    let outside = Outside::gated(0);
    let cached = uncached(&outside);
    let (leader, followers) = boarded(&outside, &cached, 20).await;
    outside.let_go(1);
    let answer = leader.await.unwrap().unwrap();
    for follower in followers {
        assert_eq!(follower.await.unwrap().unwrap(), answer);
    }
    assert_eq!(outside.calls(), 1);
}

#[tokio::test]
async fn when_the_one_that_asks_goes_another_takes_over() {
    let outside = Outside::gated(0);
    let cached = uncached(&outside);
    let (leader, followers) = boarded(&outside, &cached, 5).await;
    leader.abort();
    outside.entered().await;
    outside.let_go(1);
    for follower in followers {
        follower.await.unwrap().unwrap();
    }
    assert_eq!(outside.calls(), 2);
}

#[tokio::test]
async fn when_the_one_that_asks_fails_another_takes_over() {
    let outside = Outside::gated(1);
    let cached = uncached(&outside);
    let (leader, followers) = boarded(&outside, &cached, 5).await;
    outside.let_go(2);
    assert_eq!(leader.await.unwrap().unwrap_err().message, "not today");
    for follower in followers {
        follower.await.unwrap().unwrap();
    }
    assert_eq!(outside.calls(), 2);
}

#[tokio::test]
async fn nobody_waits_longer_than_his_own_time() {
    let outside = Outside::gated(0);
    let cached = uncached(&outside);
    let (leader, _) = boarded(&outside, &cached, 0).await;
    let hurried = ask(&cached, Call::within(Duration::from_millis(20)));
    assert_eq!(hurried.await.unwrap().unwrap_err().class, ErrorClass::Timeout);
    let unwanted = call();
    let follower = ask(&cached, unwanted.clone());
    settled().await;
    unwanted.cancel.cancel();
    assert_eq!(follower.await.unwrap().unwrap_err().class, ErrorClass::Released);
    outside.let_go(1);
    leader.await.unwrap().unwrap();
    assert_eq!(outside.calls(), 1);
}

#[tokio::test]
async fn different_questions_do_not_wait_for_each_other() {
    let outside = Outside::gated(0);
    let cached = uncached(&outside);
    let (leader, _) = boarded(&outside, &cached, 0).await;
    let other = {
        let cached = cached.clone();
        tokio::spawn(async move { search(&*cached, "another").await })
    };
    outside.entered().await;
    let bypassing = ask(&cached, bypassing());
    outside.entered().await;
    outside.let_go(3);
    for asking in [leader, other, bypassing] {
        asking.await.unwrap().unwrap();
    }
}

/// Takes its time to keep what it is given.
struct Slow {
    inner: Arc<dyn Cache>,
    entered: Semaphore,
    gate: Semaphore,
}

#[async_trait]
impl Cache for Slow {
    async fn look_up(&self, key: &CacheKey) -> Option<Hit> {
        self.inner.look_up(key).await
    }

    async fn put(&self, key: &CacheKey, value: Bytes, ttl: Duration) {
        self.entered.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        self.inner.put(key, value, ttl).await;
    }

    async fn remove(&self, key: &CacheKey) {
        self.inner.remove(key).await;
    }
}

#[tokio::test]
async fn an_answer_is_kept_although_whoever_asked_has_gone() {
    let outside = Outside::default();
    let slow = Arc::new(Slow { inner: memory(), entered: Semaphore::new(0), gate: Semaphore::new(0) });
    let cached = cached(&outside, &answers(slow.clone()));
    let leader = ask(&cached, call());
    answered(slow.entered.acquire()).await.unwrap().forget();
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    // While it is being kept, and after.
    ask(&cached, call()).await.unwrap().unwrap();
    slow.gate.add_permits(1);
    settled().await;
    ask(&cached, call()).await.unwrap().unwrap();
    assert_eq!(outside.calls(), 1);
}
