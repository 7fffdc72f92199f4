//! Reading what searches found: pages are fetched until there are enough that speak about the topic.

use futures::StreamExt as _;
use futures::stream;
use quillwork_app::ports::call::{CacheUse, Call};
use quillwork_app::ports::fetch::{Fetch, Fetched, Page};
use quillwork_app::ports::search::{Location, Query, Skipped, Source};
use quillwork_domain::job::ErrorClass;

use super::choose::{Read, choose, into_sources};
use crate::context::StageContext;
use crate::stage::StageError;

/// Pages that one job fetches at once. How many a process fetches is the provider's bulkhead.
const AT_ONCE: usize = 20;

/// So many candidates are tried for each source that is wanted.
const TRIES: usize = 3;

/// The pages of one attempt. Each is a step: fetched once per job.
pub(super) struct Reading<'a> {
    pub(super) query: &'a Query,
    fetch: &'a dyn Fetch,
    cx: &'a StageContext,
    call: Call,
    /// What was left out for good.
    pub(super) skipped: Vec<Skipped>,
    /// What was left out and may go well another time.
    pub(super) troubles: Vec<StageError>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(query: &'a Query, fetch: &'a dyn Fetch, cache: CacheUse, cx: &'a StageContext) -> Self {
        Self { query, fetch, cx, call: cx.call(cache), skipped: vec![], troubles: vec![] }
    }

    /// The best of the candidates that can be read and speak about the topic, in their order, numbered from 1.
    pub(super) async fn read(&mut self, candidates: Vec<Source>) -> Result<Vec<Source>, StageError> {
        let wanted = self.query.max_sources;
        // A file without passages has nothing to read.
        let can_be_read = |source: &Source| !source.passages.is_empty() || url(source).is_some();
        let mut candidates = candidates.into_iter().filter(can_be_read).take(wanted.saturating_mul(TRIES));
        let (mut read, mut weak): (Vec<Read>, Vec<Read>) = (vec![], vec![]);
        loop {
            let wave: Vec<Source> = candidates.by_ref().take(wanted.saturating_sub(read.len())).collect();
            if wave.is_empty() {
                break;
            }
            let unread = wave.iter().filter(|source| source.passages.is_empty()).filter_map(url);
            let mut pages = self.fetch(unread.collect()).await?.into_iter();
            for source in wave {
                if !source.passages.is_empty() {
                    read.push(Read::Before(source));
                } else if let Some(page) = pages.next().flatten() {
                    read.push(Read::Now(source, page));
                }
            }
            read = choose(self.query, read, &mut weak, &mut self.skipped);
        }
        // A search knows words that the topic does not have.
        let room = wanted.saturating_sub(read.len()).min(weak.len());
        read.extend(weak.drain(..room));
        let reason = "it says little about the topic, and others say more";
        self.skipped.extend(weak.iter().filter_map(|one| one.left_out(reason)));
        let mut sources = into_sources(self.query, read);
        for (n, source) in (1..).zip(&mut sources) {
            source.n = n;
        }
        Ok(sources)
    }

    /// Fetches pages, in the order given; None for one that cannot be had.
    pub(super) async fn fetch(&mut self, urls: Vec<String>) -> Result<Vec<Option<Page>>, StageError> {
        let total = urls.len() as u64;
        let progress = self.cx.progress();
        let (fetch, call, cx) = (self.fetch, &self.call, self.cx);
        let fetched = urls.into_iter().map(|url| async move {
            let ask = async || Ok(fetch.fetch(&url, call).await?);
            let is_void = |fetched: &Fetched| matches!(fetched, Fetched::Skipped(_));
            let fetched = cx.step_until_retried(&format!("fetch:{url}"), is_void, ask).await;
            (url, fetched)
        });
        let mut fetched = stream::iter(fetched).buffered(AT_ONCE);
        let mut pages = Vec::new();
        while let Some((url, answer)) = fetched.next().await {
            let page = match answer {
                Ok(Fetched::Page(page)) => Some(*page),
                Ok(Fetched::Skipped(reason)) => {
                    self.skipped.push(Skipped { path: url, reason });
                    None
                }
                Err(error) if ends_attempt(error.class) => return Err(error),
                Err(error) => {
                    self.skipped.push(Skipped { path: url, reason: error.message.clone() });
                    self.troubles.push(error);
                    None
                }
            };
            pages.push(page);
            progress.report(pages.len() as u64, total, "reading pages");
        }
        Ok(pages)
    }
}

/// True if the attempt itself is over, whatever else could be done in it.
pub(super) fn ends_attempt(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Lost | ErrorClass::Released | ErrorClass::Timeout)
}

fn url(source: &Source) -> Option<String> {
    match &source.location {
        Location::Url(url) => Some(url.clone()),
        Location::Path(_) => None,
    }
}
