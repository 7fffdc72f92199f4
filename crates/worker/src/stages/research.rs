//! Finds what the article will be written from: searches, given pages and a site, merged and read.

mod choose;
mod crawl;
mod merge;
mod read;
mod settings;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use quillwork_app::ports::call::CacheUse;
use quillwork_app::ports::fetch::Fetch;
use quillwork_app::ports::search::{Findings, Query, Search, Searched, Skipped, Source};
use quillwork_domain::job::ErrorClass;

use self::choose::{GIVEN, rank_pages};
use self::merge::fuse;
use self::read::{Reading, ends_attempt};
pub(super) use self::settings::Settings;
use crate::context::StageContext;
use crate::stage::{Stage, StageError, StageInput, StageOutput};

/// Skipped documents that are listed; the others are counted.
const SKIPPED_LISTED: usize = 100;

pub(super) struct Research {
    /// By the name that jobs use.
    pub(super) searches: BTreeMap<String, Arc<dyn Search>>,
    /// Asked for jobs that name none.
    pub(super) default_searches: Vec<String>,
    pub(super) fetch: Arc<dyn Fetch>,
}

#[async_trait]
impl Stage for Research {
    async fn run(&self, input: StageInput, cx: &StageContext) -> Result<StageOutput, StageError> {
        let mut settings: Settings = input.settings()?;
        if cx.retries() > 0 {
            // Whoever sets a job going again has reason to think that the answers are others now.
            settings.cache = CacheUse::Bypass;
        }
        let query = Query {
            topic: input.topic,
            max_sources: settings.max_sources,
            max_passages: settings.max_passages,
        };
        let mut gathered = self.search(&settings, &query, cx).await?;
        let mut reading = Reading::new(&query, &*self.fetch, settings.cache, cx);
        if let Some(site) = &settings.site {
            let pages = reading.crawl(site).await?;
            gathered.searched.push(Searched {
                provider: "site".to_owned(),
                name: site.url.clone(),
                documents: pages.len() as u64,
                passages: pages.iter().map(|page| page.passages.len() as u64).sum(),
            });
            gathered.lists.push(rank_pages(&query, "site", pages));
        }
        if !settings.urls.is_empty() {
            gathered.searched.push(Searched {
                provider: GIVEN.to_owned(),
                name: "the given pages".to_owned(),
                documents: settings.urls.len() as u64,
                passages: 0,
            });
            gathered.lists.push(settings.given());
        }
        let sources = reading.read(fuse(std::mem::take(&mut gathered.lists))).await?;
        gathered.skipped.extend(reading.skipped);
        gathered.troubles.extend(reading.troubles);
        gathered.conclude(&settings, &query, sources)
    }
}

/// What the searches brought.
#[derive(Default)]
struct Gathered {
    /// One per search, best first.
    lists: Vec<Vec<Source>>,
    searched: Vec<Searched>,
    skipped: Vec<Skipped>,
    /// How many documents could not be read beyond those listed.
    unlisted: u64,
    /// What may go well another time.
    troubles: Vec<StageError>,
}

impl Research {
    /// Asks every search of the job at once. One that fails is left out, if the others find enough.
    async fn search(
        &self,
        settings: &Settings,
        query: &Query,
        cx: &StageContext,
    ) -> Result<Gathered, StageError> {
        let names = settings.searches(&self.default_searches);
        let asked = names.iter().map(|name| async move { (name, self.ask(name, settings, query, cx).await) });
        let mut gathered = Gathered::default();
        for (name, answer) in join_all(asked).await {
            match answer {
                Ok(findings) => {
                    let listed = findings.skipped.len() as u64;
                    gathered.unlisted += findings.skipped_total.saturating_sub(listed);
                    gathered.searched.push(findings.searched);
                    gathered.skipped.extend(findings.skipped);
                    gathered.lists.push(findings.sources);
                }
                Err(error) if ends_attempt(error.class) => return Err(error),
                Err(error) => {
                    let reason = error.message.clone();
                    gathered.skipped.push(Skipped { path: format!("search {name}"), reason });
                    gathered.troubles.push(error);
                }
            }
        }
        Ok(gathered)
    }

    /// Asks one search, once per job.
    async fn ask(
        &self,
        name: &str,
        settings: &Settings,
        query: &Query,
        cx: &StageContext,
    ) -> Result<Findings, StageError> {
        let Some(search) = self.searches.get(name) else {
            return Err(StageError::permanent(format!(
                "settings.research.search: this worker's configuration has no search {name:?}"
            )));
        };
        let progress = cx.progress();
        let call = cx.call(settings.cache);
        let ask = async || Ok(search.search(query, &call, progress.as_ref()).await?);
        if search.is_local() {
            return ask().await;
        }
        let is_void = |findings: &Findings| findings.sources.is_empty();
        cx.step_until_retried(&format!("search:{name}"), is_void, ask).await
    }
}

impl Gathered {
    /// The findings, or why they are too few.
    fn conclude(
        mut self,
        settings: &Settings,
        query: &Query,
        sources: Vec<Source>,
    ) -> Result<StageOutput, StageError> {
        let searched = together(self.searched);
        let skipped_total = self.skipped.len() as u64 + self.unlisted;
        if sources.len() >= settings.min_sources {
            self.skipped.truncate(SKIPPED_LISTED);
            return StageOutput::new(&Findings { searched, sources, skipped: self.skipped, skipped_total });
        }
        let place = if searched.name.is_empty() {
            "no search answered".to_owned()
        } else {
            format!("in the {} documents of {}", searched.documents, searched.name)
        };
        let found = format!(
            "{} sources found about {:?} {place}, at least {} needed",
            sources.len(),
            query.topic,
            settings.min_sources
        );
        // What may go well later is worth another attempt; nothing found is not.
        // A wish to wait costs no attempt, and the shortest wait brings at least some of it.
        let worst = self.troubles.into_iter().max_by_key(|error| {
            let is_wish = error.class == ErrorClass::RateLimited;
            (may_go_well(error.class), is_wish, Reverse(error.retry_after))
        });
        if let Some(error) = worst {
            return Err(StageError { message: format!("{}; {found}", error.message), ..error });
        }
        let pages = self.skipped.iter().filter(|skipped| skipped.path.starts_with("http")).take(3);
        let reasons: String = pages.map(|page| format!("; {}: {}", page.path, page.reason)).collect();
        let message = format!("{found}{reasons}; try other words or another corpus");
        Err(StageError::new(ErrorClass::NoSourcesFound, message))
    }
}

/// What was searched, in one.
fn together(searched: Vec<Searched>) -> Searched {
    let join = |part: fn(&Searched) -> &str, between: &str| {
        searched.iter().map(part).collect::<Vec<_>>().join(between)
    };
    Searched {
        provider: join(|searched| &searched.provider, "+"),
        name: join(|searched| &searched.name, ", "),
        documents: searched.iter().map(|searched| searched.documents).sum(),
        passages: searched.iter().map(|searched| searched.passages).sum(),
    }
}

fn may_go_well(class: ErrorClass) -> bool {
    match class {
        ErrorClass::Transient | ErrorClass::RateLimited | ErrorClass::Timeout => true,
        ErrorClass::Quota
        | ErrorClass::Permanent
        | ErrorClass::TooLarge
        | ErrorClass::BadOutput
        | ErrorClass::Panic
        | ErrorClass::Lost
        | ErrorClass::Released
        | ErrorClass::NoSourcesFound
        | ErrorClass::UnknownHandler
        | ErrorClass::Undecodable
        | ErrorClass::BudgetExhausted => false,
    }
}
