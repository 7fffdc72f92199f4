//! Fetching pages, from a site that each test starts on a port of its own.

mod charsets;
mod content;
mod hostile;
mod limits;
mod reach;
mod redirects;
mod robots;
mod site;
mod statuses;

use std::time::Duration;

use quillwork_app::ports::call::Call;
use quillwork_app::ports::fetch::{Fetch as _, Fetched, Page};
use quillwork_app::ports::provider::ProviderError;
use quillwork_providers::fetch::{FetchConfig, WebFetcher};

use crate::fetch::site::Site;

/// Long enough for everything that should end.
fn call() -> Call {
    Call::within(Duration::from_secs(120))
}

/// May read `sites`, and does not wait between requests.
fn config(sites: &[&Site]) -> FetchConfig {
    FetchConfig {
        allow_private_hosts: sites.iter().map(|site| site.host()).collect(),
        delay: Duration::ZERO,
        // For machines that are busy.
        connect_timeout: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
        ..FetchConfig::default()
    }
}

fn fetcher(site: &Site) -> WebFetcher {
    WebFetcher::new(config(&[site])).unwrap()
}

async fn fetch(site: &Site, path: &str) -> Result<Fetched, ProviderError> {
    fetcher(site).fetch(&site.url(path), &call()).await
}

#[track_caller]
fn page(fetched: Result<Fetched, ProviderError>) -> Page {
    match fetched {
        Ok(Fetched::Page(page)) => *page,
        other => panic!("no page: {other:?}"),
    }
}

#[track_caller]
fn skipped(fetched: Result<Fetched, ProviderError>) -> String {
    match fetched {
        Ok(Fetched::Skipped(reason)) => reason,
        other => panic!("not skipped: {other:?}"),
    }
}

fn text(page: &Page) -> String {
    page.passages.iter().map(|passage| passage.text.as_str()).collect::<Vec<_>>().join("\n")
}
