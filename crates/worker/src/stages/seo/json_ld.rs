//! The article as schema.org describes it, for machines that read pages.

use quillwork_app::ports::search::Location;
use quillwork_app::ports::writer::Article;
use serde::Serialize;

use crate::stages::assessment::shortened_to;
use crate::stages::seo::TITLE_CHARS;

/// More sources are left out, the titles of the others shortened, and addresses that nobody could call.
const MOST_CITATIONS: usize = 500;
const NAME_CHARS: usize = 300;
const ADDRESS_BYTES: usize = 2_048;

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
        let short = |address: &String| Some(address).filter(|it| it.len() <= ADDRESS_BYTES).cloned();
        let citation = article.sources.iter().take(MOST_CITATIONS).map(|source| {
            let (url, identifier) = match &source.location {
                Location::Url(url) => (short(url), None),
                Location::Path(path) => (None, short(path)),
            };
            let name = shortened_to(NAME_CHARS, &source.title);
            Citation { kind: "CreativeWork", position: source.n, name, url, identifier }
        });
        Self {
            context: "https://schema.org",
            kind: "Article",
            headline: shortened_to(TITLE_CHARS, &article.title),
            description: description.to_owned(),
            keywords: keyword.to_owned(),
            n_words,
            citation: citation.collect(),
        }
    }
}
