//! Which of the read pages become sources, and with which of their passages.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use quillwork_app::ports::fetch::Page;
use quillwork_app::ports::search::{Location, Passage, Query, Skipped, Source};
use quillwork_text::rank::{Document, Passage as Text, Ranked, rank};
use quillwork_text::similarity::Fingerprint;
use quillwork_text::words::{terms, topic_terms};

/// The name under which given pages were found. They are read whatever they speak about.
pub(super) const GIVEN: &str = "urls";

/// A candidate that was read.
pub(super) enum Read {
    /// By the search that found it, which has chosen its passages.
    Before(Source),
    /// As a page.
    Now(Source, Page),
}

impl Read {
    /// The word about a page that is left out.
    pub(super) fn left_out(&self, reason: &str) -> Option<Skipped> {
        match self {
            Self::Before(_) => None,
            Self::Now(_, page) => Some(Skipped { path: page.url.clone(), reason: reason.to_owned() }),
        }
    }
}

/// Keeps the pages that speak about the topic. Those that only mention it go to `weak`; those that say what an earlier
/// one says, or nothing about the topic, are left out.
pub(super) fn choose(
    query: &Query,
    read: Vec<Read>,
    weak: &mut Vec<Read>,
    skipped: &mut Vec<Skipped>,
) -> Vec<Read> {
    let mut seen: Vec<(Option<Fingerprint>, String, String)> = Vec::new();
    let mut kept = Vec::with_capacity(read.len());
    for one in read {
        let Read::Now(_, page) = &one else {
            kept.push(one);
            continue;
        };
        let print = Fingerprint::of(&text(page));
        let same = seen.iter().find(|(other, sha256, _)| {
            *sha256 == page.sha256 || matches!((print, *other), (Some(a), Some(b)) if a.is_near(b))
        });
        match same {
            Some((_, _, url)) => {
                skipped.push(Skipped { path: page.url.clone(), reason: format!("says the same as {url}") });
            }
            None => {
                seen.push((print, page.sha256.clone(), page.url.clone()));
                kept.push(one);
            }
        }
    }
    let ranked = ranked(query, &kept);
    let topic = topic_terms(&query.topic);
    let mut strong = Vec::with_capacity(kept.len());
    for (index, one) in (0..).zip(kept) {
        match &one {
            Read::Now(source, page) if !ranked.contains_key(&index) && !is_given(source, page) => {
                if page.passages.iter().any(|passage| mentions(&topic, passage) > 0) {
                    weak.push(one);
                } else {
                    let reason = "it says nothing about the topic".to_owned();
                    skipped.push(Skipped { path: page.url.clone(), reason });
                }
            }
            Read::Now(..) | Read::Before(_) => strong.push(one),
        }
    }
    strong
}

/// The sources, in order, with their best passages.
pub(super) fn into_sources(query: &Query, read: Vec<Read>) -> Vec<Source> {
    let ranked = ranked(query, &read);
    (0..)
        .zip(read)
        .map(|(index, one)| match one {
            Read::Before(source) => source,
            Read::Now(source, page) => take(query, source, page, ranked.get(&index)),
        })
        .collect()
}

/// The pages that speak about the topic, best first, each with its best passages.
pub(super) fn rank_pages(query: &Query, found_by: &str, pages: Vec<Page>) -> Vec<Source> {
    let candidate = |page: Page| {
        let source = Source {
            n: 0,
            title: page.title.clone(),
            location: Location::Url(page.url.clone()),
            passages: vec![],
            found_by: vec![found_by.to_owned()],
            sha256: None,
        };
        Read::Now(source, page)
    };
    let (mut weak, mut skipped) = (vec![], vec![]);
    let read = choose(query, pages.into_iter().map(candidate).collect(), &mut weak, &mut skipped);
    let mut ranked: Vec<(f64, Source)> = Vec::new();
    let by_page = self::ranked(query, &read);
    for (index, one) in (0..).zip(read) {
        if let (Some(rank), Read::Now(source, page)) = (by_page.get(&index), one) {
            ranked.push((rank.score, take(query, source, page, Some(rank))));
        }
    }
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    ranked.into_iter().map(|(_, source)| source).collect()
}

/// By the index in `read`; those that hold too little of the topic are absent.
fn ranked(query: &Query, read: &[Read]) -> BTreeMap<u64, Ranked> {
    let texts: Vec<(&str, Vec<Text<'_>>)> = read
        .iter()
        .map(|one| match one {
            Read::Before(source) => (source.title.as_str(), vec![]),
            Read::Now(_, page) => {
                let texts = page.passages.iter().map(|Passage { heading, text, .. }| Text { heading, text });
                (page.title.as_str(), texts.collect())
            }
        })
        .collect();
    let documents: Vec<Document<'_>> =
        texts.iter().map(|(title, passages)| Document { title, passages }).collect();
    rank(&query.topic, &documents).into_iter().map(|ranked| (ranked.document, ranked)).collect()
}

fn take(query: &Query, source: Source, page: Page, rank: Option<&Ranked>) -> Source {
    let mut passages = page.passages;
    match rank {
        Some(rank) => {
            let best = rank.best_passages(query.max_passages);
            passages = best
                .into_iter()
                .filter_map(|best| {
                    let passage = passages.get(usize::try_from(best.ordinal).ok()?)?;
                    Some(Passage { score: best.score as f32, ..passage.clone() })
                })
                .collect();
        }
        None => passages = mentioning(query, passages),
    }
    let title = if page.title.is_empty() { source.title } else { page.title };
    Source { title, location: Location::Url(page.url), passages, sha256: Some(page.sha256), ..source }
}

/// The passages that mention most of the topic, in order; of a page that mentions nothing of it, the first.
fn mentioning(query: &Query, passages: Vec<Passage>) -> Vec<Passage> {
    let topic = topic_terms(&query.topic);
    let mut ranked: Vec<(usize, usize)> =
        passages.iter().map(|passage| mentions(&topic, passage)).enumerate().collect();
    ranked.sort_by_key(|(place, n)| (Reverse(*n), *place));
    let any = ranked.first().is_some_and(|(_, n)| *n > 0);
    ranked.retain(|(_, n)| !any || *n > 0);
    ranked.truncate(query.max_passages);
    ranked.sort_unstable_by_key(|(place, _)| *place);
    let score = |n: usize| n as f32 / topic.len().max(1) as f32;
    let chosen = ranked.into_iter().filter_map(|(place, n)| Some((passages.get(place)?, score(n))));
    chosen.map(|(passage, score)| Passage { score, ..passage.clone() }).collect()
}

/// How many terms of the topic stand in a passage.
fn mentions(topic: &[String], passage: &Passage) -> usize {
    let said: HashSet<String> = terms(&passage.heading).into_iter().chain(terms(&passage.text)).collect();
    topic.iter().filter(|term| said.contains(*term)).count()
}

fn text(page: &Page) -> String {
    let texts: Vec<&str> = page.passages.iter().map(|passage| passage.text.as_str()).collect();
    texts.join("\n")
}

/// Given pages are kept whatever they say, if they say anything.
fn is_given(source: &Source, page: &Page) -> bool {
    source.found_by.iter().any(|by| by == GIVEN) && !page.passages.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(name: &str, texts: &[&str]) -> Read {
        let passage = |(line, text): (u32, &&str)| Passage {
            heading: String::new(),
            text: (*text).to_owned(),
            lines: [line, line],
            score: 0.0,
        };
        let source = Source {
            n: 0,
            title: name.to_owned(),
            location: Location::Url(format!("https://a.org/{name}")),
            passages: vec![],
            found_by: vec![if name.starts_with("given") { GIVEN } else { "web" }.to_owned()],
            sha256: None,
        };
        let page = Page {
            url: format!("https://a.org/{name}"),
            title: name.to_owned(),
            passages: (1..).zip(texts).map(passage).collect(),
            links: vec![],
            sha256: name.chars().next().unwrap().to_string(),
            language: None,
        };
        Read::Now(source, page)
    }

    fn query() -> Query {
        Query { topic: "leap seconds".to_owned(), max_sources: 6, max_passages: 1 }
    }

    const LEAP: &str = "A leap second is added to keep clocks near the turning of the earth.";
    const TREES: &str = "Trees grow towards the light, and their leaves turn with the sun.";

    #[test]
    fn what_says_nothing_or_the_same_is_left_out_with_a_reason() {
        let read = vec![
            page("leap", &[LEAP]),
            page("leap-copy", &["another text under the same digest"]),
            page("mirror", &[LEAP]),
            page("trees", &[TREES]),
            page("given", &[TREES, LEAP]),
        ];
        let mut skipped = vec![];
        let mut weak = vec![];
        let kept = into_sources(&query(), choose(&query(), read, &mut weak, &mut skipped));
        assert!(weak.is_empty());
        let titles: Vec<&str> = kept.iter().map(|source| source.title.as_str()).collect();
        assert_eq!(titles, ["leap", "given"]);
        let reasons: Vec<(&str, &str)> =
            skipped.iter().map(|skipped| (skipped.path.as_str(), skipped.reason.as_str())).collect();
        assert_eq!(
            reasons,
            [
                ("https://a.org/leap-copy", "says the same as https://a.org/leap"),
                ("https://a.org/mirror", "says the same as https://a.org/leap"),
                ("https://a.org/trees", "it says nothing about the topic"),
            ]
        );
        assert_eq!(kept[1].passages[0].text, LEAP, "the best passage, not the first");
        assert!(kept[0].passages[0].score > 0.0);
    }

    #[test]
    fn a_given_page_is_kept_whatever_it_says() {
        let kept = choose(&query(), vec![page("given", &[TREES])], &mut vec![], &mut vec![]);
        assert_eq!(into_sources(&query(), kept)[0].passages[0].text, TREES);
    }

    #[test]
    fn a_page_that_only_mentions_the_topic_waits_for_better_ones() {
        let query = Query { topic: "leap seconds zebra quagga okapi".to_owned(), ..query() };
        let (mut weak, mut skipped) = (vec![], vec![]);
        let kept = choose(
            &query,
            vec![page("leap", &[TREES, LEAP]), page("trees", &[TREES])],
            &mut weak,
            &mut skipped,
        );
        assert_eq!((kept.len(), weak.len(), skipped.len()), (0, 1, 1));
        assert_eq!(into_sources(&query, weak)[0].passages[0].text, LEAP);
    }
}
