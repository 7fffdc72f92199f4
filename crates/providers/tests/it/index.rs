//! The index follows the files, and survives what happens to it.

use std::path::PathBuf;

use quillwork_app::ports::provider::{Progress, Unwatched};
use quillwork_domain::job::ErrorClass;

use crate::library::{Library, fixture, paths, search, write};

const TOPICS: [&str; 4] =
    ["retransmission timer backoff", "task cancellation", "lease fencing tokens", "zebra"];

fn zebra(n: usize) -> String {
    format!(
        "# Zebra {n}\n\nThe zebra number {n} is a striped animal that sleeps in herd {n} of the plains.\n"
    )
}

/// The folder that the only corpus of this index directory has in it.
fn index_folder(library: &Library) -> PathBuf {
    std::fs::read_dir(library.index_dir()).unwrap().next().unwrap().unwrap().path()
}

#[tokio::test]
async fn an_index_grown_in_steps_equals_a_fresh_one() {
    let library = Library::of_fixtures();
    let corpus = library.corpus();
    for n in 0..12 {
        library.put(&format!("zebra-{n}.md"), zebra(n));
        search(&corpus, "zebra").await.unwrap();
    }
    library.remove("zebra-3.md");
    library.put("zebra-4.md", zebra(40));
    search(&corpus, "zebra").await.unwrap();
    library.put("leases.md", fixture("leases.md").replace("renewing", "extending"));
    library.remove("zebra-5.md");

    for topic in TOPICS {
        let grown = search(&corpus, topic).await.unwrap();
        let reopened = library.search(topic).await;
        let elsewhere = library.outside().join("fresh-index");
        let fresh = quillwork_providers::corpus::Corpus::folder(&library.corpus_dir(), &elsewhere);
        let fresh = search(&fresh, topic).await.unwrap();
        assert_eq!(grown, fresh);
        assert_eq!(reopened, fresh);
        assert_eq!(write(topic, &grown).await.unwrap(), write(topic, &fresh).await.unwrap());
    }
}

#[tokio::test]
async fn changes_show_in_the_next_search() {
    let library = Library::of_fixtures();
    let corpus = library.corpus();
    assert_eq!(search(&corpus, "zebra").await.unwrap().sources, []);
    library.put("a/zebra.md", zebra(1));
    assert_eq!(paths(&search(&corpus, "zebra").await.unwrap()), ["a/zebra.md"]);
    // Of the same length, and within the same tick of the clock.
    library.put("a/zebra.md", zebra(2));
    assert_eq!(search(&corpus, "zebra").await.unwrap().sources[0].title, "Zebra 2");
    library.remove("a/zebra.md");
    assert_eq!(search(&corpus, "zebra").await.unwrap().sources, []);
}

#[tokio::test]
async fn a_damaged_index_is_rebuilt() {
    let library = Library::of_fixtures();
    let expected = library.search("lease fencing").await;
    assert_eq!(paths(&expected), ["leases.md"]);

    let folder = index_folder(&library);
    let files = |folder: PathBuf| -> Vec<PathBuf> {
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect()
    };
    let mut damages = files(folder.join("passages"));
    damages.extend(files(folder.clone()));
    for damaged in damages {
        // The first damage replaces the files of the second, so each is done to what is there now.
        let Some(name) = damaged.file_name() else { continue };
        let now = if damaged.parent() == Some(&folder) {
            folder.join(name)
        } else {
            folder.join("passages").join(name)
        };
        for content in [&b""[..], b"{\"format\":0}", b"\xff\xfe damaged damaged damaged damaged"] {
            if now.exists() {
                std::fs::write(&now, content).unwrap();
            }
            assert_eq!(library.search("lease fencing").await, expected, "{}", now.display());
        }
    }
    for path in files(folder.clone()).into_iter().chain(files(folder.join("passages"))) {
        if path.exists() {
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(library.search("lease fencing").await, expected, "{}", path.display());
    }
}

#[tokio::test]
async fn searches_and_processes_share_one_index() {
    let library = Library::of_fixtures();
    for n in 0..40 {
        library.put(&format!("zebra-{n}.md"), zebra(n));
    }
    // Two corpora on one folder hold their locks as two processes do.
    let (one, other) = (library.corpus(), library.corpus());
    let (a, b, c, d) = tokio::join!(
        search(&one, "zebra"),
        search(&other, "zebra"),
        search(&one, "zebra"),
        search(&other, "zebra")
    );
    let a = a.unwrap();
    assert_eq!(a.searched.documents, 43);
    for it in [b, c, d] {
        assert_eq!(it.unwrap(), a);
    }
}

struct Impatient;

impl Progress for Impatient {
    fn report(&self, _: u64, _: u64, _: &str) {}

    fn cancelled(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_cancelled_refresh_is_continued_by_the_next() {
    let library = Library::of_fixtures();
    for n in 0..300 {
        library.put(&format!("zebra-{n}.md"), zebra(n).repeat(50));
    }
    let corpus = library.corpus();
    // It may be done before it notices.
    if let Err(error) = corpus.refresh(&Impatient).await {
        assert_eq!(error.class, ErrorClass::Transient);
    }
    assert_eq!(corpus.refresh(&Unwatched).await.unwrap().documents, 303);
}
