use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quillwork_app::ports::fetch::Fetch as _;
use quillwork_domain::job::ErrorClass;
use quillwork_providers::rate_limit::memory::MemoryLimiter;
use quillwork_providers::resilience::{Guard, GuardedFetch, Limits, ProviderMetrics};

use crate::fetch::site::{Reply, Site, answer, html, not_found};
use crate::fetch::{call, fetch, fetcher, page, skipped};

/// As pages are read outside of tests.
fn guarded(site: &Site) -> GuardedFetch {
    let limiter = Arc::new(MemoryLimiter::default());
    let guard = Guard::new("fetch", Limits::fetch(), limiter, ProviderMetrics::default());
    GuardedFetch::new(Arc::new(fetcher(site)), guard)
}

#[tokio::test]
async fn a_page_that_cannot_be_had_is_skipped_after_one_request() {
    for (status, reason) in [
        ("404 Not Found", "does not exist"),
        ("410 Gone", "does not exist"),
        ("401 Unauthorized", "not for everyone"),
        ("403 Forbidden", "not for everyone"),
        ("451 Unavailable For Legal Reasons", "legal"),
        ("400 Bad Request", "status 400"),
        ("204 No Content", "status 204"),
        ("304 Not Modified", "status 304"),
    ] {
        let site = Site::of(answer(status, "", b"")).await;
        let refused = skipped(fetch(&site, "/a").await);
        assert!(refused.contains(reason) && refused.contains(&site.url("/a")), "{status}: {refused}");
        assert_eq!(site.paths(), ["/a"], "{status}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_patience_is_left_alone() {
    for (status, seconds) in [("429 Too Many Requests", 3), ("503 Service Unavailable", 120)] {
        let site = Site::of(answer(status, &format!("retry-after: {seconds}\r\n"), b"")).await;
        let error = fetch(&site, "/").await.unwrap_err();
        assert_eq!(
            (error.class, error.retry_after),
            (ErrorClass::RateLimited, Some(Duration::from_secs(seconds)))
        );
        assert_eq!(site.paths().len(), 1, "{status}");
    }
    let site =
        Site::of(answer("429 Too Many Requests", "retry-after: Fri, 31 Dec 2100 23:59:59 GMT\r\n", b""))
            .await;
    let error = fetch(&site, "/").await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(86_400)), "no longer than a day");
}

#[tokio::test]
async fn a_server_that_fails_is_asked_three_times_in_all() {
    for (status, class, times) in [
        ("500 Internal Server Error", ErrorClass::Transient, 3),
        ("502 Bad Gateway", ErrorClass::Transient, 3),
        ("503 Service Unavailable", ErrorClass::Transient, 3),
        ("408 Request Timeout", ErrorClass::Transient, 3),
        ("429 Too Many Requests", ErrorClass::RateLimited, 1),
    ] {
        let site = Site::of(answer(status, "", b"")).await;
        let error = guarded(&site).fetch(&site.url("/"), &call()).await.unwrap_err();
        assert_eq!((error.class, error.retry_after, site.paths().len()), (class, None, times), "{status}");
    }
}

#[tokio::test]
async fn a_server_that_recovers_is_read() {
    let asked = AtomicUsize::new(0);
    let site = Site::start(move |request| {
        if request.path == "/robots.txt" {
            return not_found();
        }
        Reply::Bytes(match asked.fetch_add(1, Ordering::SeqCst) {
            0 => answer("502 Bad Gateway", "", b""),
            // Cut in the middle.
            1 => html("<p>One two three four five.")[..90].to_vec(),
            _ => html("<p>One two three four five."),
        })
    })
    .await;
    assert_eq!(
        page(guarded(&site).fetch(&site.url("/"), &call()).await).passages[0].text,
        "One two three four five."
    );
    assert_eq!(site.paths().len(), 3);
}
