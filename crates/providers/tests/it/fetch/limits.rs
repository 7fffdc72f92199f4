use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::Fetch as _;
use quillwork_app::ports::provider::ProviderError;
use quillwork_domain::job::ErrorClass;
use quillwork_providers::fetch::{FetchConfig, WebFetcher};

use crate::fetch::site::{Reply, Site, answer, html, not_found};
use crate::fetch::{call, config, fetch, fetcher, page, skipped, text};

const HTML: &str = "content-type: text/html\r\n";
const OPEN: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n";

async fn site(reply: Reply) -> Site {
    Site::start(move |request| if request.path == "/robots.txt" { not_found() } else { reply.clone() }).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn packed(coding: &str, body: &[u8]) -> Vec<u8> {
    answer("200 OK", &format!("{HTML}content-encoding: {coding}\r\n"), body)
}

#[tokio::test]
async fn a_page_is_unpacked_and_counted_unpacked() {
    let whole = format!("<p>{}</p>", "Some words of prose. ".repeat(4_000));
    let site = site(Reply::Bytes(packed("gzip", &gzip(whole.as_bytes())))).await;
    let exact = WebFetcher::new(FetchConfig { max_bytes: whole.len(), ..config(&[&site]) }).unwrap();
    assert!(text(&page(exact.fetch(&site.url("/"), &call()).await)).starts_with("Some words of prose."));
    let short = WebFetcher::new(FetchConfig { max_bytes: whole.len() - 1, ..config(&[&site]) }).unwrap();
    assert!(skipped(short.fetch(&site.url("/"), &call()).await).contains("larger than"));
    assert!(
        site.requests().iter().all(|request| request.headers.contains(&"accept-encoding: gzip".to_owned()))
    );
}

#[tokio::test]
async fn a_body_without_end_is_left() {
    let bomb = gzip(&vec![b' '; 100_000_000]);
    for reply in [
        Reply::Bytes(packed("gzip", &bomb)),
        Reply::Bytes(html(&"x".repeat(5_000_001))),
        Reply::Endless(format!("{OPEN}\r\n").into(), vec![b'x'; 65_536]),
        Reply::Endless(
            format!("{OPEN}transfer-encoding: chunked\r\n\r\n").into(),
            [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat(),
        ),
        // Announced, and never sent.
        Reply::Silence(format!("{OPEN}content-length: 5000001\r\n\r\n").into()),
    ] {
        let site = site(reply).await;
        let reason = skipped(fetch(&site, "/").await);
        assert!(reason.contains("larger than 5000000 bytes"), "{reason}");
        assert_eq!(site.paths().len(), 1);
    }
}

#[tokio::test]
async fn a_body_that_is_cut_may_be_whole_later() {
    let gz = gzip(b"<p>One two three four five six seven.");
    for (name, reply) in [
        (
            "longer than it is",
            format!("{OPEN}content-length: 1000\r\n\r\n<p>One two three four.").into_bytes(),
        ),
        ("no last chunk", format!("{OPEN}transfer-encoding: chunked\r\n\r\n5\r\nwords\r\n").into_bytes()),
        ("half a chunk", format!("{OPEN}transfer-encoding: chunked\r\n\r\n50\r\nwords").into_bytes()),
        ("half a gzip", packed("gzip", &gz[..20])),
        ("no gzip", packed("gzip", b"<p>One two three four.")),
        ("no answer", Vec::new()),
        ("half a head", b"HTTP/1.1 200 OK\r\ncontent-ty".to_vec()),
    ] {
        let site = site(Reply::Bytes(reply)).await;
        let error = fetch(&site, "/").await.unwrap_err();
        assert_eq!((error.class, site.paths().len()), (ErrorClass::Transient, 1), "{name}: {error}");
        assert!(error.message.contains(&site.url("/")), "{name}: {error}");
    }
}

#[tokio::test]
async fn what_is_sent_beyond_the_announced_length_is_not_read() {
    let site = site(Reply::Bytes(
        format!("{OPEN}content-length: 22\r\n\r\n<p>One two three four.<p>And what was hidden.").into(),
    ))
    .await;
    assert_eq!(text(&page(fetch(&site, "/").await)), "One two three four.");
}

#[tokio::test]
async fn what_is_no_http_is_skipped() {
    let cases: [(&str, Vec<u8>); 6] = [
        ("does not answer in HTTP", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("does not answer in HTTP", b"HTTP/1.1 abc\r\n\r\n".to_vec()),
        ("does not answer in HTTP", format!("{OPEN}content-length: -5\r\n\r\n").into()),
        ("larger headers", format!("{OPEN}{}\r\n", "x: y\r\n".repeat(1_000)).into()),
        ("larger headers", format!("{OPEN}x: {}\r\n\r\n", "y".repeat(10_000_000)).into()),
        ("packed in a way", packed("br", b"abc")),
    ];
    for (expected, reply) in cases {
        let site = site(Reply::Bytes(reply)).await;
        let reason = skipped(fetch(&site, "/").await);
        assert!(reason.contains(expected), "{reason}");
    }
    let site = site(Reply::Endless(OPEN.into(), b"x-more: and more\r\n".repeat(1_000))).await;
    assert!(skipped(fetch(&site, "/").await).contains("larger headers"));
}

#[tokio::test]
async fn a_server_that_takes_its_time_runs_out_of_it() {
    let drip = |first: &str, then: &str| Reply::Endless(first.into(), then.into());
    for (name, reply) in [
        ("no answer", Reply::Silence(Vec::new())),
        ("no body", Reply::Silence(format!("{OPEN}content-length: 10\r\n\r\n").into())),
        ("always about to answer", drip("", "HTTP/1.1 100 Continue\r\n\r\n")),
        ("an open body", Reply::Silence(format!("{OPEN}\r\n<p>One two three four.").into())),
    ] {
        let site = site(reply).await;
        let config = FetchConfig { timeout: Duration::from_millis(300), ..config(&[&site]) };
        let error = WebFetcher::new(config).unwrap().fetch(&site.url("/"), &call()).await.unwrap_err();
        assert_eq!((error.class, site.paths().len()), (ErrorClass::Transient, 1), "{name}: {error}");
        assert!(error.message.contains("did not answer in time"), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_call_that_is_over_ends_the_request() {
    let site = site(Reply::Silence(Vec::new())).await;
    let short = Call::within(Duration::from_millis(300));
    let late = fetcher(&site).fetch(&site.url("/"), &short).await;
    assert!(matches!(late, Err(ProviderError { class: ErrorClass::Timeout, .. })), "{late:?}");

    let unwanted = call();
    let fetcher = fetcher(&site);
    let url = site.url("/unwanted");
    let (fetched, ()) = tokio::join!(fetcher.fetch(&url, &unwanted), async {
        site.asked_for("/unwanted").await;
        unwanted.cancel.cancel();
    });
    assert!(matches!(fetched, Err(ProviderError { class: ErrorClass::Released, .. })), "{fetched:?}");
}
