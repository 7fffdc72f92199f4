use quillwork_app::ports::fetch::Fetch as _;
use quillwork_providers::fetch::WebFetcher;

use crate::fetch::site::{Reply, Site, answer, html, not_found, redirect};
use crate::fetch::{call, config, fetch, page, skipped};

/// `/n` leads to `/n-1`, and `/0` is a page.
async fn stairs() -> Site {
    Site::start(|request| match request.path.trim_start_matches('/').parse::<u32>() {
        Ok(0) => Reply::Bytes(html("<title>Bottom</title><p>One two three four five.")),
        Ok(n) => Reply::Bytes(redirect(&format!("/{}?utm_source=x#part", n - 1))),
        Err(_) if request.path.starts_with("/0?") => {
            Reply::Bytes(html("<title>Bottom</title><p>One two three four."))
        }
        Err(_) => {
            match request.path.strip_suffix("?utm_source=x").and_then(|path| path[1..].parse::<u32>().ok()) {
                Some(n) => Reply::Bytes(redirect(&format!("/{}?utm_source=x#part", n - 1))),
                None => not_found(),
            }
        }
    })
    .await
}

#[tokio::test]
async fn five_redirects_are_followed() {
    let site = stairs().await;
    let read = page(fetch(&site, "/5").await);
    assert_eq!((read.url, read.title.as_str()), (site.url("/0"), "Bottom"));
    assert_eq!(site.paths().len(), 6);
    let reason = skipped(fetch(&site, "/6").await);
    assert!(reason.contains("more than 5 times"), "{reason}");
}

#[tokio::test]
async fn every_kind_of_redirect_is_followed_and_loops_end() {
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let moved = answer(status, "location: here?page\r\n", b"");
        let site = Site::start(move |request| {
            Reply::Bytes(match request.path.as_str() {
                "/a/b" => moved.clone(),
                "/a/here?page" => html("<p>One two three four."),
                _ => answer("404 Not Found", "", b""),
            })
        })
        .await;
        assert_eq!(page(fetch(&site, "/a/b").await).url, site.url("/a/here?page"), "{status}");
    }
    let site = Site::of(redirect("/")).await;
    assert!(skipped(fetch(&site, "/").await).contains("more than 5 times"));
    assert_eq!(site.paths().len(), 6);
}

#[tokio::test]
async fn a_redirect_to_what_may_not_be_reached_is_not_followed() {
    let other = Site::of(html("<p>A secret of the house.")).await;
    let inside = other.url("/");
    for (to, reason) in [
        (inside.as_str(), "not on a public address"),
        ("http://localhost/", "not on a public address"),
        ("http://169.254.169.254/latest/meta-data/", "not on a public address"),
        ("//0xa9fea9fe/latest/", "not on a public address"),
        ("http://[fd00:ec2::254]/", "not on a public address"),
        ("http://[::ffff:127.0.0.1]/", "not on a public address"),
        ("http://127.1:80/", "not on a public address"),
        ("http://example.com:22/", "port 22"),
        ("http://user:secret@example.com/", "credentials"),
        ("file:///etc/passwd", "only http and https"),
        ("gopher://127.0.0.1/", "only http and https"),
        ("data:text/html,x", "only http and https"),
        ("http://[", "does not say where to"),
    ] {
        let site = Site::of(redirect(to)).await;
        let refused = skipped(fetch(&site, "/").await);
        assert!(refused.contains(reason) && !refused.contains("secret"), "{to}: {refused}");
        assert_eq!(site.paths().len(), 1);
    }
    let site = Site::of(answer("302 Found", "", b"")).await;
    assert!(skipped(fetch(&site, "/").await).contains("does not say where to"));
    assert_eq!(other.requests().len(), 0, "nobody knocked");
}

#[tokio::test]
async fn the_other_site_is_asked_for_its_rules() {
    let other = Site::start(|request| {
        Reply::Bytes(match request.path.as_str() {
            "/robots.txt" => answer("200 OK", "", b"user-agent: *\ndisallow: /closed"),
            _ => html("<p>One two three four."),
        })
    })
    .await;
    for (path, allowed) in [("/open", true), ("/closed", false)] {
        let site = Site::of(redirect(&other.url(path))).await;
        let fetcher = WebFetcher::new(config(&[&site, &other])).unwrap();
        let fetched = fetcher.fetch(&site.url("/"), &call()).await;
        if allowed {
            assert_eq!(page(fetched).url, other.url(path));
        } else {
            assert!(skipped(fetched).contains("not for robots"));
        }
    }
    assert_eq!(other.paths(), ["/open"]);
}
