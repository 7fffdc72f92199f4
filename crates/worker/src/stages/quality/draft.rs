//! An article as the checks see it: its prose, and the passages behind each citation.

use quillwork_app::ports::search::{Findings, Passage, Source};
use quillwork_app::ports::writer::Article;
use quillwork_text::citations::{Block, Kind, Sentence, blocks};

/// The section that writers add: it lists what was cited, and is no prose.
const SOURCES: &str = "sources";

pub(super) struct Draft<'a> {
    pub(super) article: &'a Article,
    /// The article before its list of sources, headings included.
    pub(super) blocks: Vec<Block>,
    /// Whether the list of sources is there, as a section of its own.
    pub(super) has_sources: bool,
    pub(super) cited: Vec<Cited<'a>>,
    /// How many sources there were to cite.
    pub(super) n_found: usize,
}

/// A source that the article lists and the research has found.
pub(super) struct Cited<'a> {
    pub(super) n: u32,
    pub(super) title: &'a str,
    pub(super) passages: Vec<&'a Passage>,
}

/// A sentence, and what it rests on.
pub(super) struct Claim<'a> {
    pub(super) sentence: &'a Sentence,
    /// Its own citations, or those of its neighbours in the paragraph; empty in a paragraph without any.
    pub(super) cites: &'a [u32],
}

impl<'a> Draft<'a> {
    pub(super) fn new(article: &'a Article, findings: &'a Findings) -> Self {
        let mut blocks = blocks(&article.markdown);
        let sources = blocks.iter().rposition(|block| {
            matches!(block.kind, Kind::Heading(_))
                && block.sentences.iter().all(|sentence| sentence.text.to_lowercase() == SOURCES)
        });
        blocks.truncate(sources.unwrap_or(blocks.len()));
        let cited = article.sources.iter().filter_map(|cited| {
            let found: Vec<&Source> =
                findings.sources.iter().filter(|source| source.location == cited.location).collect();
            let passages: Vec<&Passage> = found.iter().flat_map(|source| &source.passages).collect();
            (!found.is_empty()).then_some(Cited { n: cited.n, title: &cited.title, passages })
        });
        Self {
            article,
            blocks,
            has_sources: sources.is_some(),
            cited: cited.collect(),
            n_found: findings.sources.len(),
        }
    }

    /// Paragraphs and list items; of quotations only those that cite, because the others are notices.
    pub(super) fn prose(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(|block| match block.kind {
            Kind::Paragraph | Kind::Item => true,
            Kind::Quote => is_cited(block),
            Kind::Heading(_) | Kind::Cell => false,
        })
    }

    pub(super) fn sentences(&self) -> impl Iterator<Item = &Sentence> {
        self.prose().flat_map(|block| &block.sentences)
    }

    /// Every sentence of the prose.
    pub(super) fn claims(&self) -> Vec<Claim<'_>> {
        self.prose().flat_map(claims).collect()
    }

    pub(super) fn source(&self, n: u32) -> Option<&Cited<'a>> {
        self.cited.iter().find(|cited| cited.n == n)
    }

    pub(super) fn n_words(&self) -> usize {
        self.sentences().map(|sentence| sentence.text.split_whitespace().count()).sum()
    }

    /// Whether it quotes its sources by design.
    pub(super) fn is_extractive(&self) -> bool {
        self.article.method.starts_with("extractive")
    }
}

pub(super) fn is_cited(block: &Block) -> bool {
    block.sentences.iter().any(|sentence| !sentence.cites.is_empty())
}

/// A sentence without a citation rests on the next one of its paragraph, or else on the last.
fn claims(block: &Block) -> Vec<Claim<'_>> {
    let cited = |sentence: &&Sentence| !sentence.cites.is_empty();
    let mut cites = block.sentences.iter().rfind(cited).map_or(&[][..], |last| &last.cites);
    let mut claims: Vec<Claim<'_>> = Vec::with_capacity(block.sentences.len());
    for sentence in block.sentences.iter().rev() {
        if cited(&sentence) {
            cites = &sentence.cites;
        }
        claims.push(Claim { sentence, cites });
    }
    claims.reverse();
    claims
}
