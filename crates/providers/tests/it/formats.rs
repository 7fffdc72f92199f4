//! Which files are read, and how.

use std::io::Write;

use quillwork_app::ports::provider::Unwatched;
use quillwork_app::ports::search::Skipped;
use quillwork_domain::job::ErrorClass;
use quillwork_providers::corpus::Corpus;

use crate::library::{Library, fixture, paths, search};

const PROSE: &str = "Zebras\n\nThe zebra is a striped animal of the African plains and lives in herds.\n";

async fn skipped(library: &Library) -> Vec<Skipped> {
    library.corpus().refresh(&Unwatched).await.unwrap().skipped
}

fn skip(path: &str, reason: &str) -> Skipped {
    Skipped { path: path.to_owned(), reason: reason.to_owned() }
}

#[tokio::test]
async fn passages_carry_headings_and_lines() {
    let library = Library::of_fixtures();
    for (topic, path, title, heading, lines) in [
        (
            "doubling retransmission timer",
            "protocols/backoff.txt",
            "Exponential Backoff for Retransmission Timers",
            "2.1. Doubling the Timer",
            [50, 61],
        ),
        ("cancelled task requests", "tasks.html", "Task cancellation", "Requests", [16, 21]),
        ("fencing tokens", "leases.md", "Leases and fencing", "Fencing tokens", [11, 26]),
    ] {
        let findings = library.search(topic).await;
        let source = &findings.sources[0];
        assert_eq!((paths(&findings)[0], source.title.as_str()), (path, title));
        let passage = source.passages.iter().find(|passage| passage.heading == heading).unwrap();
        assert_eq!(passage.lines, lines, "{path}: {}", passage.text);
    }
}

#[tokio::test]
async fn every_text_encoding_is_read() {
    let library = Library::empty();
    let latin =
        "Les élèves\n\nLes élèves français étudient la géographie et l’été à Besançon depuis des années.\n";
    library.put("latin.txt", encoding_rs::WINDOWS_1252.encode(latin).0);
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(PROSE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    library.put("wide.txt", utf16);
    library.put("marked.txt", format!("\u{feff}{PROSE}"));
    let declared =
        "<meta charset=koi8-r><title>Зебра</title><p>Зебра живёт в саванне вместе с другими животными.";
    library.put("declared.html", encoding_rs::KOI8_R.encode(declared).0);
    assert_eq!(skipped(&library).await, []);
    assert_eq!(library.search("zebra").await.sources.len(), 2);
    assert!(library.search("géographie").await.sources[0].passages[0].text.contains("étudient"));
    assert_eq!(library.search("зебра").await.sources[0].title, "Зебра");
}

#[tokio::test]
async fn packed_files_are_read_within_limits() {
    let library = Library::empty();
    let pack = |content: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(content).unwrap();
        packed.finish().unwrap()
    };
    library.put("zebra.txt.gz", pack(PROSE.as_bytes()));
    library.put("bomb.txt.gz", pack(&vec![b' '; 17 * 1024 * 1024]));
    assert_eq!(skipped(&library).await, [skip("bomb.txt.gz", "it is larger than 16 MiB")]);
    assert_eq!(paths(&library.search("zebra").await), ["zebra.txt.gz"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_harms_nothing() {
    let library = Library::of_fixtures();
    library.put("junk.txt", [0u8, 159, 146, 150, 1, 2, 3]);
    library.put("large.md", vec![b'a'; 17 * 1024 * 1024]);
    library.put("picture.png", [0u8; 16]);
    library.put(".hidden/zebra.md", PROSE);
    assert_eq!(
        skipped(&library).await,
        [skip("junk.txt", "it is not text"), skip("large.md", "it is larger than 16 MiB")]
    );
    let findings = library.search("fencing tokens").await;
    assert_eq!(
        (paths(&findings), findings.skipped_total, findings.searched.documents),
        (vec!["leases.md"], 2, 3)
    );
}

#[cfg(unix)]
#[tokio::test]
async fn links_neither_loop_nor_lead_outside() {
    use std::os::unix::fs::symlink;

    let library = Library::of_fixtures();
    let corpus = library.corpus_dir();
    std::fs::write(library.outside().join("secret.md"), PROSE).unwrap();
    symlink(&corpus, corpus.join("protocols/loop")).unwrap();
    symlink("a-loop.md", corpus.join("a-loop.md")).unwrap();
    symlink(library.outside().join("secret.md"), corpus.join("secret.md")).unwrap();
    symlink(library.outside(), corpus.join("up")).unwrap();
    symlink(corpus.join("leases.md"), corpus.join("copy.md")).unwrap();
    assert_eq!(
        skipped(&library).await,
        [
            skip("a-loop.md", "it is a link that leads nowhere"),
            skip("secret.md", "it is a link to outside the corpus"),
            skip("up", "it is a link to outside the corpus"),
        ]
    );
    assert_eq!(library.search("zebra").await.sources, []);
    assert_eq!(library.search("zebra").await.searched.documents, 3);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_is_read_once_it_may_be() {
    use std::os::unix::fs::PermissionsExt;

    let library = Library::of_fixtures();
    library.put("zebra.md", PROSE);
    let file = library.corpus_dir().join("zebra.md");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
    // The superuser may read everything.
    let forbidden = std::fs::read(&file).is_err();
    assert_eq!(skipped(&library).await.len(), usize::from(forbidden));
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(paths(&library.search("zebra").await), ["zebra.md"]);
}

#[tokio::test]
async fn a_missing_or_empty_corpus_says_what_to_do() {
    let library = Library::empty();
    let error = search(&library.corpus(), "zebra").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.message.starts_with("no md, html or txt file in the corpus folder "), "{error}");

    let missing = library.outside().join("missing");
    let error = search(&Corpus::folder(&missing, &library.index_dir()), "zebra").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.message.contains("missing") && error.message.contains("--corpus"), "{error}");

    library.put("file.md", fixture("leases.md"));
    let file = library.corpus_dir().join("file.md");
    let error = search(&Corpus::folder(&file, &library.index_dir()), "zebra").await.unwrap_err();
    assert!(error.message.contains("it is not a folder"), "{error}");
}
