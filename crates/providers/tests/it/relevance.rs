//! Which documents a topic finds, and which topics find nothing.

use std::time::Duration;

use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::Unwatched;
use quillwork_app::ports::search::{Location, Query, Search};
use quillwork_providers::corpus::Corpus;

use crate::library::{Library, fold, paths, search, write};

#[tokio::test]
async fn each_topic_finds_its_document() {
    let library = Library::of_fixtures();
    for (topic, path) in [
        ("exponential backoff", "protocols/backoff.txt"),
        ("cancelling tasks", "tasks.html"),
        ("How are leases renewed?", "leases.md"),
    ] {
        assert_eq!(paths(&library.search(topic).await)[0], path, "{topic}");
    }
}

#[tokio::test]
async fn an_unknown_topic_finds_nothing() {
    let library = Library::of_fixtures();
    for topic in [
        "quantum chromodynamics lattice",
        "qwzx flurb",
        "the",
        "",
        "?!",
        "lost network of chocolate cakes",
        "medieval number theory",
    ] {
        assert_eq!(library.search(topic).await.sources, [], "{topic}");
    }
}

#[tokio::test]
async fn limits_are_kept() {
    let library = Library::empty();
    for n in 0..9 {
        let section = "## Stripes of zebras\n\nThe zebra has stripes that no other zebra has, as every zebra knows.\n\n";
        library.put(&format!("zebra-{n}.md"), format!("# Zebra\n\n{}", section.repeat(9)));
    }
    let query = Query { topic: "zebra stripes".to_owned(), max_sources: 3, max_passages: 2 };
    let findings =
        library.corpus().search(&query, &Call::within(Duration::from_secs(600)), &Unwatched).await.unwrap();
    // Equals are sorted by path.
    assert_eq!(paths(&findings), ["zebra-0.md", "zebra-1.md", "zebra-2.md"]);
    assert!(findings.sources.iter().all(|source| source.passages.len() == 2));
    assert!(findings.sources.iter().zip(1..).all(|(source, n)| source.n == n));
}

#[tokio::test]
async fn a_page_beside_its_source_text_is_one_document() {
    let library = Library::empty();
    let prose = "The zebra is a striped animal of the African plains and lives in herds.";
    library.put("zebra.txt", format!("Zebra\n\n{prose}\n"));
    library.put("zebra.html", format!("<h1>Zebra</h1><p>{prose}"));
    assert_eq!(library.search("zebra").await.sources.len(), 1);
}

#[tokio::test]
async fn the_built_in_documentation_speaks_about_quillwork() {
    let index_dir = tempfile::TempDir::new().unwrap();
    let corpus = Corpus::embedded(index_dir.path());
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for topic in ["durable jobs and crash recovery", "idempotency keys", "how retries work"] {
        let findings = search(&corpus, topic).await.unwrap();
        for source in write(topic, &findings).await.unwrap().sources {
            let Location::Path(path) = source.location else { panic!("{topic} cites no file") };
            let text = fold(&std::fs::read_to_string(docs.join(path)).unwrap());
            assert!(source.quotes.iter().all(|quote| text.contains(quote)), "{topic}: {:?}", source.quotes);
        }
    }
    assert_eq!(search(&corpus, "quantum chromodynamics lattice").await.unwrap().sources, []);
}
