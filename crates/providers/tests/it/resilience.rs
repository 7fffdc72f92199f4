//! What a guard lets through, what it refuses, and what it learns. Time is paused: waiting costs nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use prometheus_client::registry::Registry;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::{Fetch, Fetched};
use quillwork_app::ports::provider::{ProviderError, Unwatched};
use quillwork_app::ports::rate_limiter::Rate;
use quillwork_app::ports::search::{Findings, Query, Search};
use quillwork_domain::job::ErrorClass;
use quillwork_providers::rate_limit::memory::MemoryLimiter;
use quillwork_providers::resilience::{
    Guard, GuardedFetch, GuardedSearch, Limits, ProviderMetrics, Standing,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance};

fn guard(limits: Limits) -> Guard {
    Guard::new("groq", limits, Arc::new(MemoryLimiter::default()), ProviderMetrics::default())
}

fn call() -> Call {
    Call::within(Duration::from_secs(100_000))
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn fails(class: ErrorClass, retry_after: Option<Duration>) -> Result<(), ProviderError> {
    Err(ProviderError { class, message: "HTTP 503".into(), retry_after })
}

async fn once(guard: &Guard, result: Result<(), ProviderError>) -> Result<(), ProviderError> {
    guard.once(&call(), async { result }).await
}

/// The error of a call that was refused without being made.
async fn refused(guard: &Guard) -> ProviderError {
    guard.once::<()>(&call(), async { panic!("the call was made") }).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn only_so_many_run_at_once_and_the_others_wait_in_line() {
    let guard = guard(Limits::new(2));
    let (gate, order) = (Semaphore::new(0), Mutex::new(Vec::new()));
    let call = call();
    let run = |n: usize| {
        let (guard, gate, order, call) = (&guard, &gate, &order, &call);
        async move {
            let work = async {
                order.lock().unwrap().push(n);
                gate.acquire().await.unwrap().forget();
                Ok(())
            };
            guard.once(call, work).await
        }
    };
    let mut calls: Vec<_> = (0..4).map(|n| Box::pin(run(n))).collect();
    for call in &mut calls {
        assert!(call.as_mut().now_or_never().is_none());
    }
    assert_eq!(*order.lock().unwrap(), [0, 1]);
    assert_eq!(guard.standing(), Standing::Ready { has_slot: false });
    // The third loses patience; its place goes to the fourth.
    drop(calls.remove(2));
    gate.add_permits(3);
    for result in futures::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 3]);
    assert_eq!(guard.standing(), Standing::Ready { has_slot: true });
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_he_wants() {
    let guard = guard(Limits::new(1));
    let (busy, patient) = (call(), call());
    let mut holder = Box::pin(guard.once::<()>(&busy, std::future::pending()));
    assert!(holder.as_mut().now_or_never().is_none());

    let late = guard.once(&Call::within(secs(3)), async { Ok(()) }).await.unwrap_err();
    assert_eq!(late.class, ErrorClass::Timeout);

    let mut waiting = Box::pin(guard.once(&patient, async { Ok(()) }));
    assert!(waiting.as_mut().now_or_never().is_none());
    patient.cancel.cancel();
    assert_eq!(waiting.await.unwrap_err().class, ErrorClass::Released);

    busy.cancel.cancel();
    assert_eq!(holder.await.unwrap_err().class, ErrorClass::Released);
    once(&guard, Ok(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_asked_for_patience_is_not_called() {
    let guard = guard(Limits::new(5));
    once(&guard, fails(ErrorClass::RateLimited, Some(secs(60)))).await.unwrap_err();
    advance(secs(20)).await;
    let error = refused(&guard).await;
    assert_eq!((error.class, error.retry_after), (ErrorClass::RateLimited, Some(secs(40))));
    assert_eq!(error.message, "groq is not asked for 40 s: HTTP 503");
    let Standing::Away { left, class, .. } = guard.standing() else { panic!() };
    assert_eq!((left, class), (secs(40), ErrorClass::RateLimited));
    // What is nearly over is waited for.
    advance(secs(38)).await;
    let before = Instant::now();
    once(&guard, Ok(())).await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_money_others_are_asked() {
    let guard = guard(Limits::new(5));
    once(&guard, fails(ErrorClass::Quota, None)).await.unwrap_err();
    let error = refused(&guard).await;
    assert_eq!((error.class, error.retry_after), (ErrorClass::Quota, Some(secs(600))));
    advance(secs(600)).await;
    once(&guard, Ok(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_near_is_waited_for_and_a_far_one_is_not() {
    let near = guard(Limits { rate: Some(Rate::new(1, secs(5), 1).unwrap()), ..Limits::new(5) });
    let before = Instant::now();
    once(&near, Ok(())).await.unwrap();
    once(&near, Ok(())).await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 5);

    let far = guard(Limits { rate: Some(Rate::new(1, secs(6), 1).unwrap()), ..Limits::new(5) });
    once(&far, Ok(())).await.unwrap();
    let error = refused(&far).await;
    assert_eq!((error.class, error.retry_after), (ErrorClass::RateLimited, Some(secs(6))));
    assert!(matches!(far.standing(), Standing::Away { .. }));
    advance(secs(6)).await;
    once(&far, Ok(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn guards_share_a_budget_by_its_key() {
    let limiter = Arc::new(MemoryLimiter::default());
    let rate = Some(Rate::new(1, secs(3_600), 1).unwrap());
    let [one, other, alone] = [Some("account"), Some("account"), None].map(|key| {
        let limits = Limits { rate, rate_key: key.map(str::to_owned), ..Limits::new(5) };
        Guard::new("groq", limits, limiter.clone(), ProviderMetrics::default())
    });
    once(&one, Ok(())).await.unwrap();
    assert_eq!(refused(&other).await.class, ErrorClass::RateLimited);
    once(&alone, Ok(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_close_it_and_one_probe_opens_it() {
    let guard = guard(Limits::new(5));
    for _ in 0..5 {
        once(&guard, fails(ErrorClass::Transient, None)).await.unwrap_err();
    }
    let error = refused(&guard).await;
    assert_eq!((error.class, error.retry_after), (ErrorClass::RateLimited, Some(secs(30))));
    advance(secs(30)).await;
    // A probe that is dropped leaves its place.
    let call = call();
    let mut probe = Box::pin(guard.once::<()>(&call, std::future::pending()));
    assert!(probe.as_mut().now_or_never().is_none());
    refused(&guard).await;
    drop(probe);
    once(&guard, Ok(())).await.unwrap();
    assert!(!guard.is_tripped());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_call_gives_everything_back() {
    let guard = Arc::new(guard(Limits::new(1)));
    let panics = guard.clone();
    let task = tokio::spawn(async move { panics.once::<()>(&call(), async { panic!("on purpose") }).await });
    assert!(task.await.unwrap_err().is_panic());
    once(&guard, Ok(())).await.unwrap();
}

/// Fails or hangs for hosts whose name says so, and counts its calls.
#[derive(Default)]
struct Web {
    n_calls: AtomicUsize,
}

#[async_trait]
impl Fetch for Web {
    async fn fetch(&self, url: &str, _call: &Call) -> Result<Fetched, ProviderError> {
        self.n_calls.fetch_add(1, Ordering::SeqCst);
        if url.contains("slow.example") {
            std::future::pending::<()>().await;
        }
        if url.contains("broken.example") {
            return Err(ProviderError::transient("HTTP 503"));
        }
        Ok(Fetched::Skipped(url.to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn no_host_closes_the_web_for_the_others() {
    let web = Arc::new(Web::default());
    let fetch = GuardedFetch::new(web.clone(), guard(Limits::fetch()));
    let call = call();
    for _ in 0..5 {
        let error = fetch.fetch("https://broken.example/a", &call).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient);
    }
    let n_calls = web.n_calls.load(Ordering::SeqCst);
    assert_eq!(n_calls, 15, "each is tried three times");
    let error = fetch.fetch("https://broken.example/b", &call).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::RateLimited);
    assert!(error.message.starts_with("broken.example is not asked for 30 s"), "{}", error.message);
    assert_eq!(web.n_calls.load(Ordering::SeqCst), n_calls);
    fetch.fetch("https://other.example/", &call).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_host_does_not_take_all_slots() {
    let web = Arc::new(Web::default());
    let fetch = GuardedFetch::new(web.clone(), guard(Limits { concurrency_per_host: 3, ..Limits::new(4) }));
    let call = call();
    let mut slow: Vec<_> = (0..10).map(|_| Box::pin(fetch.fetch("https://slow.example/", &call))).collect();
    for page in &mut slow {
        assert!(page.as_mut().now_or_never().is_none());
    }
    assert_eq!(web.n_calls.load(Ordering::SeqCst), 3);
    fetch.fetch("https://other.example/", &call).await.unwrap();
}

struct Flaky(AtomicUsize);

#[async_trait]
impl Search for Flaky {
    fn name(&self) -> &str {
        "wiki"
    }

    async fn search(
        &self,
        _query: &Query,
        _call: &Call,
        _progress: &dyn quillwork_app::ports::provider::Progress,
    ) -> Result<Findings, ProviderError> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(ProviderError::transient("connection reset")),
            _ => Ok(Findings::default()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_a_day() {
    let day = Some(secs(86_400));
    for class in [ErrorClass::RateLimited, ErrorClass::Quota, ErrorClass::Transient, ErrorClass::Permanent] {
        for (wish, granted) in [(secs(u64::MAX), day), (secs(86_401), day), (secs(7), Some(secs(7)))] {
            let asks = || async { fails(class, Some(wish)) };
            let errors = [
                guard(Limits::new(1)).call(&call(), asks).await.unwrap_err(),
                guard(Limits::new(1)).once(&call(), asks()).await.unwrap_err(),
                guard(Limits::new(1)).call_host("h", &call(), asks).await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.retry_after, granted, "{class}, {wish:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_at_once_is_not_seen_outside() {
    let search = GuardedSearch::new(Arc::new(Flaky(AtomicUsize::new(0))), guard(Limits::search()));
    let query = Query { topic: "leases".into(), max_sources: 1, max_passages: 1 };
    search.search(&query, &call(), &Unwatched).await.unwrap();
    assert_eq!(search.name(), "wiki");
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_what_happened() {
    let mut registry = Registry::default();
    let metrics = ProviderMetrics::register(&mut registry);
    let limiter = Arc::new(MemoryLimiter::default());
    let limits = Limits { failures: 1, ..Limits::new(1) };
    let guard = Guard::new("groq", limits, limiter, metrics);
    once(&guard, Ok(())).await.unwrap();
    let call = call();
    let mut running = Box::pin(guard.once::<()>(&call, std::future::pending()));
    assert!(running.as_mut().now_or_never().is_none());
    let mut waiting = Box::pin(guard.once(&call, async { Ok(()) }));
    assert!(waiting.as_mut().now_or_never().is_none());
    let shows = |line: &str| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.lines().any(|shown| shown == line), "{line} is not in:\n{text}");
    };
    shows(r#"quillwork_provider_in_flight{provider="groq"} 1"#);
    shows(r#"quillwork_provider_waiting{provider="groq"} 1"#);
    drop((running, waiting));
    shows(r#"quillwork_provider_in_flight{provider="groq"} 0"#);
    shows(r#"quillwork_provider_waiting{provider="groq"} 0"#);
    shows(r#"quillwork_provider_not_before_seconds{provider="groq"} 0"#);
    once(&guard, fails(ErrorClass::Transient, None)).await.unwrap_err();
    refused(&guard).await;
    for (outcome, n) in [("ok", 1), ("dropped", 1), ("transient", 1), ("refused", 1)] {
        shows(&format!(r#"quillwork_provider_calls_total{{provider="groq",outcome="{outcome}"}} {n}"#));
    }
    shows(r#"quillwork_provider_breaker_state{provider="groq"} 2"#);
    shows(r#"quillwork_provider_call_seconds_count{provider="groq"} 2"#);
}
