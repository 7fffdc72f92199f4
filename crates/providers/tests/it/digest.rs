//! What a digest reads like, and that it says nothing its sources do not say.

use quillwork_app::ports::search::Findings;
use quillwork_domain::job::ErrorClass;

use crate::library::{Library, paths, search, write};

#[test]
fn a_digest_quotes_and_cites() {
    let article = Library::of_fixtures().digest("exponential backoff of the retransmission timer");
    assert_eq!(article.method, "extractive");
    assert_eq!(article.model, None);
    assert!(
        article
            .markdown
            .starts_with("# exponential backoff of the retransmission timer\n\n> Extractive digest: ")
    );
    assert!(article.markdown.contains("No language model was used."));
    assert!(article.markdown.contains(
        "Exponential backoff is a strategy in which a sender waits twice as long before each further \
         retransmission of a lost segment. [1]"
    ));
    assert!(
        article
            .markdown
            .contains("1. Exponential Backoff for Retransmission Timers — `protocols/backoff.txt`, lines ")
    );
}

#[test]
fn what_cannot_be_quoted_word_for_word_is_left_out() {
    let quotes: Vec<String> = ["exponential backoff retransmission timer", "task cancellation", "lease"]
        .iter()
        .flat_map(|topic| Library::of_fixtures().digest(topic).sources)
        .flat_map(|source| source.quotes)
        .collect();
    for not in [
        "Senders commonly keep one", // crosses the end of a page
        "Cache-",                    // was one word before its line ended
        "In particular",
        "references are a list",
        "[Page",
        "|",
        "link in the navigation",
        "is a trick",
        "nobody",
        "copyright",
        "only once", // a line break without white space
        "the lease section",
        "reference in a section",
    ] {
        assert!(!quotes.iter().any(|quote| quote.contains(not)), "{not} in {quotes:#?}");
    }
    for expected in [
        "A cancelled task receives the Cancelled error at its next suspension point, and it may still finish its cleanup.",
        "A lease is renewed after a third of its time has passed.",
        "The store refuses a write whose token is older than the newest lease, and it records `lease_lost` in the log.",
        "An acknowledgment of new data resets the retransmission timer to the value that was measured before the backoff.",
    ] {
        assert!(quotes.iter().any(|quote| quote == expected), "{expected} not in {quotes:#?}");
    }
}

#[test]
fn signs_of_markdown_are_shown_not_obeyed() {
    let library = Library::empty();
    library.put(
        "widgets.html",
        "<title>Widgets</title><p>A widget is the &lt;widget&gt; element of a *starred* page of widgets.</p>",
    );
    let article = library.digest("widget");
    assert!(
        article
            .markdown
            .contains("A widget is the \\<widget> element of a \\*starred\\* page of widgets. [1]")
    );
    assert_eq!(
        article.sources[0].quotes,
        ["A widget is the <widget> element of a *starred* page of widgets."]
    );
}

#[tokio::test]
async fn the_same_input_gives_the_same_article() {
    let library = Library::of_fixtures();
    let corpus = library.corpus();
    let topic = "how tasks and leases are cancelled after a timeout";
    let first = search(&corpus, topic).await.unwrap();
    let article = write(topic, &first).await;
    for _ in 0..10 {
        let again = search(&corpus, topic).await.unwrap();
        assert_eq!(again, first);
        assert_eq!(format!("{:?}", write(topic, &again).await), format!("{article:?}"));
    }
}

#[tokio::test]
async fn findings_without_a_quotable_sentence_are_no_article() {
    let library = Library::empty();
    library.put("notes.txt", "Notes about zebras\n\nzebra zebra stripes, zebras and so on\n");
    let findings = library.search("zebra").await;
    assert_eq!(paths(&findings), ["notes.txt"]);
    let error = write("zebra", &findings).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NoSourcesFound);
    let error = write("zebra", &Findings::default()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NoSourcesFound);
}

#[tokio::test]
async fn an_article_keeps_to_its_length() {
    let topic = "retransmission timer";
    let findings = Library::of_fixtures().search(topic).await;
    let n_words = |article: quillwork_app::ports::writer::Article| -> usize {
        article
            .sources
            .iter()
            .flat_map(|source| &source.quotes)
            .map(|quote| quote.split_whitespace().count())
            .sum()
    };
    assert!(n_words(write(topic, &findings).await.unwrap()) <= 300);
}
