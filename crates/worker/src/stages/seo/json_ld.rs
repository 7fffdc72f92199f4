//! The article as schema.org describes it, for machines that read pages.

use quillwork_app::ports::search::Location;
use quillwork_app::ports::writer::Article;
use serde::Serialize;

/// Members always stand in this order.
#[derive(Debug, Serialize)]
pub(super) struct JsonLd {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "@type")]
    kind: &'static str,
    headline: String,
    description: String,
    keywords: String,
    #[serde(rename = "wordCount")]
    n_words: usize,
    citation: Vec<Citation>,
}

#[derive(Debug, Serialize)]
struct Citation {
    #[serde(rename = "@type")]
    kind: &'static str,
    position: u32,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The path of a document that is not on the web.
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier: Option<String>,
}

impl JsonLd {
    pub(super) fn of(article: &Article, description: &str, keyword: &str, n_words: usize) -> Self {
        let citation = article.sources.iter().map(|source| {
            let (url, identifier) = match &source.location {
                Location::Url(url) => (Some(url.clone()), None),
                Location::Path(path) => (None, Some(path.clone())),
            };
            Citation { kind: "CreativeWork", position: source.n, name: source.title.clone(), url, identifier }
        });
        Self {
            context: "https://schema.org",
            kind: "Article",
            headline: article.title.clone(),
            description: description.to_owned(),
            keywords: keyword.to_owned(),
            n_words,
            citation: citation.collect(),
        }
    }
}
