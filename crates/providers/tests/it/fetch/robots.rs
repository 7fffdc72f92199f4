use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::Fetch as _;
use quillwork_domain::job::ErrorClass;
use quillwork_providers::fetch::{FetchConfig, WebFetcher};

use crate::fetch::site::{Reply, Site, answer, html, redirect};
use crate::fetch::{call, config, fetch, fetcher, page, skipped};

/// Answers with `robots` for robots.txt, and with a page for all else.
async fn site(robots: Reply) -> Site {
    Site::start(move |request| match request.path.as_str() {
        "/robots.txt" => robots.clone(),
        _ => Reply::Bytes(html("<p>One two three four.")),
    })
    .await
}

fn rules(text: &str) -> Reply {
    Reply::Bytes(answer("200 OK", "content-type: text/plain\r\n", text.as_bytes()))
}

#[tokio::test]
async fn rules_are_obeyed() {
    for (text, path, allowed) in [
        ("", "/a", true),
        ("user-agent: *\ndisallow:", "/a", true),
        ("user-agent: *\ndisallow: /", "/a", false),
        ("User-Agent: *\r\nDisallow: /a\r\n", "/a/b?c", false),
        ("user-agent: *\ndisallow: /a", "/b", true),
        ("user-agent: *\ndisallow: /a\nallow: /a/b", "/a/b", true),
        ("user-agent: *\ndisallow: /*.php$", "/x.php", false),
        ("user-agent: *\ndisallow: /*.php$", "/x.php?y", true),
        ("user-agent: otherbot\ndisallow: /", "/a", true),
        ("user-agent: *\ndisallow: /\n\nuser-agent: Quillwork\ndisallow: /b", "/a", true),
        ("user-agent: *\ndisallow:\n\nuser-agent: quillwork\ndisallow: /", "/a", false),
        ("\u{feff}user-agent: *\ndisallow: /", "/a", false),
        ("<html>not rules at all</html>", "/a", true),
    ] {
        let site = site(rules(text)).await;
        let fetched = fetch(&site, path).await;
        if allowed {
            page(fetched);
        } else {
            assert!(skipped(fetched).contains("not for robots"), "{text}");
            assert_eq!(site.paths().len(), 0, "{text}");
        }
    }
}

/// What becomes of a page.
#[derive(PartialEq)]
enum Outcome {
    Read,
    Skipped,
    Later,
}

#[tokio::test]
async fn a_site_without_rules_is_open_and_one_that_fails_is_closed() {
    let endless = Reply::Endless(
        b"HTTP/1.1 200 OK\r\n\r\nuser-agent: *\ndisallow: /a\n".to_vec(),
        b"disallow: /b-and-on-it-goes\n".repeat(1_000),
    );
    let anchors = "user-agent: *\n".to_owned() + &"disallow: /x$\n".repeat(1_001);
    for (reply, outcome) in [
        (Reply::Bytes(answer("404 Not Found", "", b"disallow: /")), Outcome::Read),
        (Reply::Bytes(answer("403 Forbidden", "", b"")), Outcome::Read),
        (Reply::Bytes(answer("410 Gone", "", b"")), Outcome::Read),
        (Reply::Bytes(redirect("/robots.txt")), Outcome::Read),
        (Reply::Bytes(redirect("http://[")), Outcome::Read),
        (Reply::Bytes(answer("500 Internal Server Error", "", b"")), Outcome::Later),
        (Reply::Bytes(answer("503 Service Unavailable", "retry-after: 1\r\n", b"")), Outcome::Later),
        (Reply::Bytes(answer("429 Too Many Requests", "", b"")), Outcome::Later),
        (Reply::Bytes(redirect("http://169.254.169.254/robots.txt")), Outcome::Skipped),
        (Reply::Bytes(b"nonsense\r\n\r\n".to_vec()), Outcome::Later),
        (rules(&anchors), Outcome::Later),
        (endless, Outcome::Skipped),
    ] {
        let shown = format!("{reply:?}").chars().take(100).collect::<String>();
        let site = site(reply).await;
        let fetched = fetch(&site, "/a").await;
        match outcome {
            Outcome::Read => drop(page(fetched)),
            Outcome::Skipped => drop(skipped(fetched)),
            Outcome::Later => {
                let error = fetched.unwrap_err();
                assert_eq!(error.class, ErrorClass::RateLimited, "{shown}: {error}");
                let left = error.retry_after.unwrap().as_secs();
                assert!((540..=600).contains(&left), "{shown}: {left} s are left of ten minutes");
            }
        }
        assert_eq!(site.paths().len(), usize::from(outcome == Outcome::Read), "{shown}");
    }
}

#[tokio::test]
async fn a_site_that_failed_to_tell_its_rules_is_asked_for_them_once() {
    let site = site(Reply::Bytes(answer("500 Internal Server Error", "", b""))).await;
    let fetcher = fetcher(&site);
    for path in ["/a", "/b", "/a"] {
        let error = fetcher.fetch(&site.url(path), &call()).await.unwrap_err();
        assert!(error.message.contains(&site.url(path)) && error.message.contains("status 500"), "{error}");
    }
    assert_eq!(site.requests().len(), 1);
}

#[tokio::test]
async fn rules_may_lie_elsewhere() {
    let elsewhere = site(rules("user-agent: *\ndisallow: /a")).await;
    let here = site(Reply::Bytes(redirect(&elsewhere.url("/robots.txt")))).await;
    let fetcher = WebFetcher::new(config(&[&here, &elsewhere])).unwrap();
    assert!(skipped(fetcher.fetch(&here.url("/a"), &call()).await).contains("not for robots"));
    page(fetcher.fetch(&here.url("/b"), &call()).await);
}

#[tokio::test]
async fn rules_are_read_once_for_all() {
    let site = site(rules("user-agent: *\ndisallow: /closed")).await;
    let fetcher = fetcher(&site);
    let (url, call) = (|n: usize| site.url(&format!("/{n}")), call());
    let fetched = futures::future::join_all((0..8).map(|n| {
        let (fetcher, url, call) = (fetcher.clone(), url(n), call.clone());
        async move { fetcher.fetch(&url, &call).await }
    }))
    .await;
    fetched.into_iter().for_each(|fetched| drop(page(fetched)));
    assert_eq!((site.requests().len(), site.paths().len()), (9, 8));
}

#[tokio::test]
async fn a_failure_to_ask_for_the_rules_is_not_remembered() {
    let up = std::sync::Arc::new(AtomicBool::new(false));
    let is_up = std::sync::Arc::clone(&up);
    let site = Site::start(move |request| match request.path.as_str() {
        "/robots.txt" if !is_up.load(Ordering::SeqCst) => Reply::Bytes(Vec::new()),
        "/robots.txt" => rules(""),
        _ => Reply::Bytes(html("<p>One two three four.")),
    })
    .await;
    let fetcher = fetcher(&site);
    let error = fetcher.fetch(&site.url("/"), &call()).await.unwrap_err();
    assert_eq!((error.class, site.paths().len()), (ErrorClass::Transient, 0), "{error}");
    up.store(true, Ordering::SeqCst);
    page(fetcher.fetch(&site.url("/"), &call()).await);
}

#[tokio::test]
async fn a_crawl_delay_is_obeyed_within_bounds() {
    for (asked, longest, expected) in [
        ("3600", Duration::from_secs(7_200), 3_600),
        ("3600", Duration::from_secs(1_000), 1_000),
        ("1e30", Duration::from_secs(1_000), 1_000),
    ] {
        let site = site(rules(&format!("user-agent: *\ncrawl-delay: {asked}"))).await;
        let fetcher = WebFetcher::new(FetchConfig { longest_delay: longest, ..config(&[&site]) }).unwrap();
        page(fetcher.fetch(&site.url("/1"), &call()).await);
        let error = fetcher.fetch(&site.url("/2"), &Call::within(Duration::from_secs(30))).await.unwrap_err();
        let wait = error.retry_after.unwrap().as_secs_f64().ceil() as u64;
        assert_eq!(error.class, ErrorClass::RateLimited);
        assert!((expected - 60..=expected).contains(&wait), "{asked}: {wait}");
        assert_eq!(site.paths(), ["/1"]);
    }
    for harmless in ["-5", "nan", "soon", "0"] {
        let site = site(rules(&format!("user-agent: *\ncrawl-delay: {harmless}"))).await;
        let fetcher = fetcher(&site);
        page(fetcher.fetch(&site.url("/1"), &call()).await);
        page(fetcher.fetch(&site.url("/2"), &call()).await);
    }
}

#[tokio::test]
async fn sites_learn_who_asks() {
    let site = site(rules("user-agent: mybot\ndisallow: /closed")).await;
    let config = FetchConfig {
        user_agent: "MyBot/2".to_owned(),
        contact: Some("mailto:me@example.com".to_owned()),
        ..config(&[&site])
    };
    let fetcher = WebFetcher::new(config).unwrap();
    page(fetcher.fetch(&site.url("/"), &call()).await);
    assert!(skipped(fetcher.fetch(&site.url("/closed"), &call()).await).contains("not for robots"));
    for request in site.requests() {
        assert!(
            request.headers.contains(&"user-agent: mybot/2 (+mailto:me@example.com)".to_owned()),
            "{request:?}"
        );
        assert!(
            !request
                .headers
                .iter()
                .any(|header| header.starts_with("cookie") || header.starts_with("referer"))
        );
    }
}
