//! The main job, as a new user runs it.

use std::fs;
use std::path::Path;

use quillwork_tests::server::{run, text};
use serde_json::Value;

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs a topic and returns the result as JSON.
fn result(data_dir: &Path, topic: &str, args: &[&str]) -> Value {
    let mut all = vec!["run", topic, "--json", "--data-dir", data_dir.to_str().unwrap()];
    all.extend(args);
    let output = run(&all);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every quote stands word for word in the file it cites, and every citation in the text has a source.
fn check_citations(result: &Value, corpus: &Path) {
    let sources = result["sources"].as_array().unwrap();
    assert!(!sources.is_empty());
    for source in sources {
        let path = corpus.join(source["path"].as_str().unwrap());
        let document = folded(&fs::read_to_string(&path).unwrap());
        for quote in source["quotes"].as_array().unwrap() {
            let quote = folded(quote.as_str().unwrap());
            assert!(document.contains(&quote), "{}: {quote}", path.display());
        }
    }
    let markdown = result["markdown"].as_str().unwrap();
    assert!(markdown.contains("## Sources"));
    for n in 1..=sources.len() {
        assert!(markdown.contains(&format!("[{n}]")), "source {n} is not cited:\n{markdown}");
    }
    assert!(!markdown.contains(&format!("[{}]", sources.len() + 1)));
}

#[test]
fn without_a_corpus_the_article_quotes_the_documentation() {
    let dir = tempfile::tempdir().unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for topic in ["How do durable jobs survive a crash?", "idempotency keys", "how retries work"] {
        let result = result(dir.path(), topic, &[]);
        check_citations(&result, &docs);
        assert_eq!((result["method"].as_str(), &result["model"]), (Some("extractive"), &Value::Null));
    }
}

#[test]
fn the_article_is_on_stdout_and_progress_on_stderr() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["run", "crash recovery and leases", "--data-dir", dir.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let article = text(&output.stdout);
    assert!(article.starts_with("# ") && article.contains("## Sources"), "{article}");
    assert!(article.contains("No language model was used"), "{article}");
    let progress = text(&output.stderr);
    assert!(progress.contains("research") && progress.contains("generation"), "{progress}");
}

#[test]
fn a_folder_of_documents_is_searched_and_its_changes_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = tempfile::tempdir().unwrap();
    let about = |plant: &str, word: &str| {
        format!(
            "# {plant}\n\nThe {plant} is a plant that gardeners have grown for {word} since the middle ages.\n\
             A {plant} needs well drained soil and at least six hours of sunlight on every day of summer.\n\
             Gardeners who water the {plant} in the morning report far fewer losses to mildew and other fungi.\n"
        )
    };
    fs::create_dir(corpus.path().join("herbs")).unwrap();
    fs::write(corpus.path().join("herbs/rosemary.md"), about("rosemary", "its leaves")).unwrap();
    fs::write(corpus.path().join("herbs/lavender.md"), about("lavender", "its scent")).unwrap();
    let args = ["--corpus", corpus.path().to_str().unwrap()];
    let first = result(dir.path(), "growing rosemary in the garden", &args);
    check_citations(&first, corpus.path());
    assert!(first["sources"][0]["path"].as_str().unwrap().contains("rosemary"), "{first}");

    fs::remove_file(corpus.path().join("herbs/rosemary.md")).unwrap();
    fs::write(corpus.path().join("tarragon.md"), about("tarragon", "its taste")).unwrap();
    let second = result(dir.path(), "growing tarragon in the garden", &args);
    check_citations(&second, corpus.path());
    assert!(second["sources"][0]["path"].as_str().unwrap().contains("tarragon"), "{second}");
}

#[test]
fn a_topic_that_nothing_speaks_of_fails_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["run", "quantum chromodynamics lattice", "--data-dir", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("no_sources_found"), "{}", text(&output.stderr));
}

#[test]
fn a_corpus_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let output = run(&[
        "run",
        "topic",
        "--corpus",
        missing.to_str().unwrap(),
        "--data-dir",
        dir.path().to_str().unwrap(),
    ]);
    assert_ne!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("missing"), "{}", text(&output.stderr));
}
