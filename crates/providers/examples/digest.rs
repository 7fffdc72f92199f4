//! Prints the digest of a topic: `cargo run --release --example digest -- CORPUS TOPIC [MAX_WORDS]`.
//!
//! CORPUS is a folder, or `docs` for the documentation in the binary. The index is kept in the system's folder for
//! temporary files. Timings go to standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for developers that prints")]

use std::path::Path;
use std::time::{Duration, Instant};

use quillwork_app::ports::call::Call;
use quillwork_app::ports::provider::{ProviderError, Unwatched};
use quillwork_app::ports::search::{Query, Search};
use quillwork_app::ports::writer::{Brief, Writer};
use quillwork_providers::corpus::Corpus;
use quillwork_providers::extractive::Extractive;

#[tokio::main]
async fn main() -> Result<(), ProviderError> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err(ProviderError::permanent("expected CORPUS and TOPIC"));
    };
    let max_words = arguments.next().and_then(|words| words.parse().ok()).unwrap_or(700);
    let index_dir = std::env::temp_dir().join("quillwork-digest");
    let corpus = if folder == "docs" {
        Corpus::embedded(&index_dir)
    } else {
        Corpus::folder(Path::new(&folder), &index_dir)
    };

    let started = Instant::now();
    let inventory = corpus.refresh(&Unwatched).await?;
    eprintln!(
        "refreshed in {:?}: {} documents, {} passages, {} skipped",
        started.elapsed(),
        inventory.documents,
        inventory.passages,
        inventory.skipped.len()
    );
    let started = Instant::now();
    let query = Query { topic: topic.clone(), max_sources: 6, max_passages: 12 };
    let findings = corpus.search(&query, &Call::within(Duration::from_secs(600)), &Unwatched).await?;
    eprintln!("searched in {:?}: {} sources", started.elapsed(), findings.sources.len());
    for source in &findings.sources {
        let scores: Vec<f32> = source.passages.iter().map(|passage| passage.score).collect();
        eprintln!("  {}. {} {:?} {scores:.1?}", source.n, source.title, source.location);
    }
    if findings.sources.is_empty() {
        println!("nothing in {} speaks about {topic:?}", findings.searched.name);
        return Ok(());
    }
    let started = Instant::now();
    let article = Extractive.write(&Brief { topic, max_words }, &findings, &Unwatched).await?;
    eprintln!("written in {:?}", started.elapsed());
    println!("{}", article.markdown);
    Ok(())
}
