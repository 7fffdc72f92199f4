//! A corpus of fixture files in a folder of its own, and what every digest must hold.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::{ProviderError, Unwatched};
use quillwork_app::ports::search::{Findings, Location, Query, Search};
use quillwork_app::ports::writer::{Article, Brief, Writer};
use quillwork_providers::corpus::Corpus;
use quillwork_providers::extractive::Extractive;
use tempfile::TempDir;

pub(crate) struct Library {
    folder: TempDir,
}

impl Library {
    pub(crate) fn empty() -> Self {
        let library = Self { folder: TempDir::new().unwrap() };
        std::fs::create_dir(library.corpus_dir()).unwrap();
        library
    }

    /// The documents of `tests/fixtures`.
    pub(crate) fn of_fixtures() -> Self {
        let library = Self::empty();
        for name in ["leases.md", "tasks.html", "protocols/backoff.txt"] {
            library.put(name, fixture(name));
        }
        library
    }

    pub(crate) fn corpus_dir(&self) -> PathBuf {
        self.folder.path().join("corpus")
    }

    pub(crate) fn index_dir(&self) -> PathBuf {
        self.folder.path().join("index")
    }

    /// A folder beside the corpus.
    pub(crate) fn outside(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let file = self.corpus_dir().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.corpus_dir().join(path)).unwrap();
    }

    pub(crate) fn corpus(&self) -> Corpus {
        Corpus::folder(&self.corpus_dir(), &self.index_dir())
    }

    /// A search as a new process would do it.
    pub(crate) async fn search(&self, topic: &str) -> Findings {
        search(&self.corpus(), topic).await.unwrap()
    }

    /// Searches and writes, and checks the article.
    #[track_caller]
    pub(crate) fn digest(&self, topic: &str) -> Article {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let findings = runtime.block_on(self.search(topic));
        let article = runtime.block_on(write(topic, &findings)).unwrap();
        self.check(&article);
        article
    }

    /// Every quote stands in its file and in the article, and every number in the article names a source.
    #[track_caller]
    pub(crate) fn check(&self, article: &Article) {
        let (body, list) = article.markdown.split_once("\n## Sources\n").unwrap();
        for (n, source) in (1u32..).zip(&article.sources) {
            assert_eq!(source.n, n);
            assert_eq!(source.quotes.len(), source.lines.len());
            assert!(list.contains(&format!("\n{n}. ")), "{list}");
            let Location::Path(path) = &source.location else { panic!("{source:?} has no path") };
            let bytes = std::fs::read(self.corpus_dir().join(path)).unwrap();
            for (quote, &[first, last]) in source.quotes.iter().zip(&source.lines) {
                let raw = encoding_rs::Encoding::for_bom(&bytes).map_or_else(
                    || String::from_utf8_lossy(&bytes).into_owned(),
                    |(it, _)| it.decode(&bytes).0.into_owned(),
                );
                let lines: Vec<&str> = raw.split('\n').collect();
                let cited = lines[first as usize - 1..last as usize].join("\n");
                for text in [&raw, &cited] {
                    assert!(visible(path, text).contains(quote), "{path} {first}-{last} lacks {quote:?}");
                }
                let shown = body.replace('\\', "");
                assert!(shown.contains(&format!("{} [{n}]", quote.replace('\\', ""))), "{quote}");
            }
        }
        let quotes: usize = article.sources.iter().map(|source| source.quotes.len()).sum();
        let numbers: Vec<usize> =
            body.split(" [").skip(1).filter_map(|it| it.split_once(']')?.0.parse().ok()).collect();
        assert_eq!(numbers.len(), quotes);
        assert!(numbers.iter().all(|&n| (1..=article.sources.len()).contains(&n)));
    }
}

pub(crate) async fn search(corpus: &Corpus, topic: &str) -> Result<Findings, ProviderError> {
    corpus.search(&query(topic), &Call::within(Duration::from_secs(600)), &Unwatched).await
}

pub(crate) async fn write(topic: &str, findings: &Findings) -> Result<Article, ProviderError> {
    Extractive.write(&Brief { topic: topic.to_owned(), max_words: 300 }, findings, &Unwatched).await
}

pub(crate) fn query(topic: &str) -> Query {
    Query { topic: topic.to_owned(), max_sources: 6, max_passages: 12 }
}

/// Where each source is, best first.
pub(crate) fn paths(findings: &Findings) -> Vec<&str> {
    findings
        .sources
        .iter()
        .map(|source| match &source.location {
            Location::Path(path) => path.as_str(),
            Location::Url(url) => url.as_str(),
        })
        .collect()
}

pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// What a reader sees of a file, white space folded: written without the crate's own readers.
fn visible(path: &str, raw: &str) -> String {
    let mut text = raw.to_owned();
    if path.ends_with("html") {
        let mut shown = String::new();
        for (n, part) in raw.split('<').enumerate() {
            shown.push_str(if n == 0 { part } else { part.split_once('>').map_or("", |(_, after)| after) });
        }
        text = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&mdash;", "—").replace("&amp;", "&");
    }
    fold(&text)
}

pub(crate) fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
