//! Searches a folder of documents, or the documentation that is built into the binary.
//!
//! The index lives on disk and follows the files: every search first compares them by size and time, and indexes
//! what changed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::{Progress, ProviderError};
use quillwork_app::ports::search::{Findings, Query, Search, Searched, Skipped};
use tokio::sync::Mutex;

use crate::corpus::manifest::Content;
use crate::corpus::origin::Origin;
use crate::corpus::rank::rank;
use crate::corpus::refresh::{Fresh, refresh};
use crate::watch::watched;

mod analyzer;
pub(crate) mod apparatus;
pub(crate) mod decode;
pub(crate) mod document;
pub(crate) mod html;
mod index;
mod manifest;
pub(crate) mod markdown;
pub(crate) mod origin;
pub(crate) mod plain;
mod rank;
mod read;
mod refresh;

/// So many skipped documents are listed; all are counted.
const SKIPPED_LISTED: usize = 100;

/// How often a search that waits for another one's refresh looks whether it is still wanted.
const CANCEL_POLL: Duration = Duration::from_millis(250);

/// Searches documents on this machine.
///
/// Reads `md`, `markdown`, `html`, `htm`, `xhtml` and `txt` files up to 16 MiB, also packed as `.gz`, in all
/// folders below the corpus that are not hidden. Links are not followed.
#[derive(Debug)]
pub struct Corpus {
    origin: Origin,
    name: String,
    index_dir: PathBuf,
    /// Numbers searches as they arrive.
    arrivals: AtomicU64,
    /// Held while the files are compared, so that one search does it for all that wait.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    fresh: Option<Fresh>,
    /// The comparison behind `fresh` began after this many searches had arrived.
    covers: u64,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("covers", &self.covers).finish_non_exhaustive()
    }
}

/// What an index holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub documents: u64,
    pub passages: u64,
    /// Every document that could not be read, sorted by path.
    pub skipped: Vec<Skipped>,
}

impl Corpus {
    /// A corpus of the documents in `corpus_dir`; its index is kept in a folder of its own below `index_dir`.
    ///
    /// Both may be missing until the first search.
    pub fn folder(corpus_dir: &Path, index_dir: &Path) -> Self {
        Self::new(Origin::Folder(corpus_dir.to_owned()), corpus_dir.display().to_string(), index_dir)
    }

    /// A corpus of Quillwork's own documentation.
    pub fn embedded(index_dir: &Path) -> Self {
        Self::new(Origin::Embedded, "the built-in documentation".to_owned(), index_dir)
    }

    fn new(origin: Origin, name: String, index_dir: &Path) -> Self {
        let index_dir = index_dir.to_owned();
        Self { origin, name, index_dir, arrivals: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Brings the index up to date and tells what it holds. A search does so by itself; this warms it up.
    ///
    /// # Errors
    /// Permanent if the corpus is missing or empty, transient if the index cannot be written.
    pub async fn refresh(&self, progress: &dyn Progress) -> Result<Inventory, ProviderError> {
        let fresh = self.fresh(progress).await?;
        Ok(Inventory {
            documents: fresh.snapshot.manifest.documents(),
            passages: fresh.snapshot.manifest.passages(),
            skipped: skipped(&fresh),
        })
    }

    /// The index as it is after the files were compared, by this search or by one that began after it arrived.
    async fn fresh(&self, progress: &dyn Progress) -> Result<Fresh, ProviderError> {
        let arrival = self.arrivals.fetch_add(1, Ordering::SeqCst);
        let mut state = loop {
            match tokio::time::timeout(CANCEL_POLL, self.state.lock()).await {
                Ok(state) => break state,
                Err(_) if progress.cancelled() => {
                    return Err(ProviderError::transient(
                        "the search was cancelled while the corpus was indexed",
                    ));
                }
                Err(_) => progress.report(0, 0, "waiting for the corpus index"),
            }
        };
        if let Some(fresh) = &state.fresh
            && arrival < state.covers
        {
            return Ok(fresh.clone());
        }
        let covers = self.arrivals.load(Ordering::SeqCst);
        let (origin, index_dir, current) = (self.origin.clone(), self.index_dir.clone(), state.fresh.clone());
        let doing = format!("indexing {}", self.name);
        let fresh =
            watched(progress, &doing, move |watch| refresh(&origin, &index_dir, current, watch)).await?;
        *state = State { fresh: Some(fresh.clone()), covers };
        Ok(fresh)
    }
}

#[async_trait]
impl Search for Corpus {
    fn name(&self) -> &str {
        "corpus"
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn search(
        &self,
        query: &Query,
        _: &Call,
        progress: &dyn Progress,
    ) -> Result<Findings, ProviderError> {
        let fresh = self.fresh(progress).await?;
        let (searcher, wanted) = (fresh.clone(), query.clone());
        let sources = watched(progress, "searching the corpus", move |_| {
            rank(&searcher.snapshot, &wanted)
                .map_err(|error| ProviderError::transient(format!("cannot read the corpus index: {error}")))
        })
        .await;
        let sources = match sources {
            Ok(sources) => sources,
            Err(error) => {
                // The next search opens the index anew, and rebuilds it if it is damaged.
                self.state.lock().await.fresh = None;
                return Err(error);
            }
        };
        let mut skipped = skipped(&fresh);
        let skipped_total = skipped.len() as u64;
        skipped.truncate(SKIPPED_LISTED);
        Ok(Findings {
            searched: Searched {
                provider: "corpus".to_owned(),
                name: self.name.clone(),
                documents: fresh.snapshot.manifest.documents(),
                passages: fresh.snapshot.manifest.passages(),
            },
            sources,
            skipped,
            skipped_total,
        })
    }
}

fn skipped(fresh: &Fresh) -> Vec<Skipped> {
    let unread = fresh.snapshot.manifest.files.iter().filter_map(|(path, entry)| match &entry.content {
        Content::Skipped { reason } => Some(Skipped { path: path.clone(), reason: reason.clone() }),
        Content::Document { .. } => None,
    });
    let mut skipped: Vec<Skipped> = unread.chain(fresh.unlisted.iter().cloned()).collect();
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    skipped
}
