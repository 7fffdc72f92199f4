use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quillwork_app::ports::fetch::Fetch as _;
use quillwork_domain::job::ErrorClass;
use quillwork_providers::fetch::{FetchConfig, FetchConfigError, Lookup, WebFetcher};

use crate::fetch::site::{Site, html, redirect};
use crate::fetch::{call, config, fetch, page, skipped};

/// Answers each question with the next line, and the last one from then on.
fn answering(lines: &'static [&'static [&'static str]]) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_| {
        let line = lines[count.fetch_add(1, Ordering::SeqCst).min(lines.len() - 1)];
        let found: Vec<IpAddr> = line.iter().map(|ip| ip.parse().unwrap()).collect();
        Box::pin(async move {
            if found.is_empty() { Err(std::io::Error::other("no such host")) } else { Ok(found) }
        })
    });
    (lookup, asked)
}

#[tokio::test]
async fn no_notation_leads_to_this_machine() {
    let site = Site::of(html("<p>A secret of the house.")).await;
    let port = site.port();
    // The port is open, so that the address alone stands in the way.
    let fetcher = WebFetcher::new(FetchConfig { extra_ports: vec![port], ..FetchConfig::default() }).unwrap();
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "%31%32%37.0.0.1",
        "１２７.０.０.１",
        "127。0。0。1",
        "localhost",
        "LOCALHOST.",
        "x.localhost",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fe80::1%25lo]",
    ] {
        let reason = skipped(fetcher.fetch(&format!("http://{host}:{port}/"), &call()).await);
        assert!(
            reason.contains("not on a public address") || reason.contains("no address"),
            "{host}: {reason}"
        );
    }
    assert_eq!(site.requests().len(), 0, "nobody knocked");
}

#[tokio::test]
async fn a_name_is_checked_when_it_is_used() {
    let site = Site::of(html("<p>A secret of the house.")).await;
    let lines: [&'static [&'static [&'static str]]; 5] = [
        &[&["127.0.0.1"]],
        &[&["8.8.8.8", "127.0.0.1"]],
        &[&["::ffff:127.0.0.1"]],
        // The name exists a moment later, and leads inside.
        &[&[], &["127.0.0.1"]],
        &[&["169.254.169.254"]],
    ];
    for answers in lines {
        let (lookup, asked) = answering(answers);
        let config = FetchConfig { extra_ports: vec![site.port()], ..FetchConfig::default() };
        let fetcher = WebFetcher::with_lookup(config, lookup).unwrap();
        let url = format!("http://rebind.example:{}/", site.port());
        for _ in 1..answers.len() {
            assert_eq!(fetcher.fetch(&url, &call()).await.unwrap_err().class, ErrorClass::Transient);
        }
        let reason = skipped(fetcher.fetch(&url, &call()).await);
        assert!(reason.contains("rebind.example") && reason.contains("not on a public address"), "{reason}");
        let addresses = answers.iter().flat_map(|line| line.iter());
        assert!(addresses.into_iter().all(|ip| !reason.contains(ip)), "it does not tell where: {reason}");
        assert_eq!(asked.load(Ordering::SeqCst), answers.len());
    }
    assert_eq!(site.requests().len(), 0, "nobody knocked");
}

#[tokio::test]
async fn a_redirect_to_a_name_that_leads_inside_is_not_followed() {
    let (lookup, _) = answering(&[&["10.0.0.1"]]);
    let site = Site::of(redirect("http://intranet.example/payroll")).await;
    let fetcher = WebFetcher::with_lookup(config(&[&site]), lookup).unwrap();
    let reason = skipped(fetcher.fetch(&site.url("/"), &call()).await);
    assert!(reason.contains("intranet.example") && !reason.contains("10.0.0.1"), "{reason}");
}

#[tokio::test]
async fn a_name_is_allowed_on_its_port_only() {
    let site = Site::of(html("<p>One two three four.")).await;
    let (port, other) = (site.port(), Site::of(html("<p>A secret of the house.")).await);
    let (lookup, _) = answering(&[&["127.0.0.1"]]);
    let config = FetchConfig {
        allow_private_hosts: vec![format!("wiki.example:{port}")],
        extra_ports: vec![other.port()],
        ..config(&[])
    };
    let fetcher = WebFetcher::with_lookup(config, lookup).unwrap();
    assert_eq!(
        page(fetcher.fetch(&format!("http://WIKI.example:{port}/a"), &call()).await).url,
        format!("http://wiki.example:{port}/a")
    );
    for refused in
        [format!("http://wiki.example:{}/", other.port()), "http://wiki.example/".to_owned(), site.url("/")]
    {
        assert!(
            skipped(fetcher.fetch(&refused, &call()).await).contains("not on a public address"),
            "{refused}"
        );
    }
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn a_name_that_is_not_found_may_be_found_later() {
    let (lookup, asked) = answering(&[&[]]);
    let fetcher = WebFetcher::with_lookup(config(&[]), lookup).unwrap();
    let error = fetcher.fetch("http://nowhere.example/", &call()).await.unwrap_err();
    assert_eq!((error.class, asked.load(Ordering::SeqCst)), (ErrorClass::Transient, 1));
    assert!(
        error.message.contains("http://nowhere.example/") && error.message.contains("no such host"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_may_come_back() {
    let site = Site::of(html("")).await;
    let (url, fetcher) = (site.url("/"), crate::fetch::fetcher(&site));
    drop(site);
    let error = fetcher.fetch(&url, &call()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    const CHILD: &str = "QUILLWORK_TEST_BEHIND_A_PROXY";
    if std::env::var_os(CHILD).is_some() {
        let site = Site::of(html("<p>One two three four.")).await;
        page(fetch(&site, "/").await);
        return;
    }
    let proxy = Site::of(html("<p>The proxy says hello here.")).await;
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "fetch::reach::a_proxy_of_the_environment_is_not_used"]).env(CHILD, "1");
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        test.env(name, format!("http://{}", proxy.host()));
    }
    let done = tokio::task::spawn_blocking(move || test.output()).await.unwrap().unwrap();
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && output.contains("1 passed"), "{output}");
    assert_eq!(proxy.requests().len(), 0);
}

#[test]
fn who_may_be_reached_and_how_much_is_read_decides_the_answer() {
    let scope = |hosts: &[&str], ports: &[u16], max_bytes: usize| {
        let allow_private_hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        let extra_ports = ports.to_vec();
        let config = FetchConfig { allow_private_hosts, extra_ports, max_bytes, ..FetchConfig::default() };
        WebFetcher::new(config).unwrap().scope()
    };
    let (hosts, ports) = (["wiki.intranet:80", "10.0.0.1:8080"], [8443, 8080]);
    let all = scope(&hosts, &ports, 1_000);
    assert_eq!(all, scope(&["10.0.0.1:8080", "wiki.intranet:80"], &[8080, 8443, 8080], 1_000));
    for other in [
        scope(&[], &ports, 1_000),
        scope(&hosts[..1], &ports, 1_000),
        scope(&hosts, &ports[..1], 1_000),
        scope(&hosts, &ports, 1_001),
    ] {
        assert_ne!(all, other);
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_refused() {
    let wrong = FetchConfig { allow_private_hosts: vec!["10.0.0.0/8".to_owned()], ..FetchConfig::default() };
    assert!(
        matches!(WebFetcher::new(wrong), Err(FetchConfigError::PrivateHost(host)) if host == "10.0.0.0/8")
    );
    let wrong = FetchConfig { contact: Some("a\nb".to_owned()), ..FetchConfig::default() };
    assert!(matches!(WebFetcher::new(wrong), Err(FetchConfigError::UserAgent(_))));
}
