//! Which documents speak about a topic, and where.
//!
//! BM25 over passages. The same passages give the same ranking, in whatever order they are counted.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::words::{terms, topic_terms};

/// How much a term counts in the title, the heading and the text.
const BOOSTS: [f64; 3] = [2.0, 2.5, 1.0];
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// So many passages of a document decide its rank.
const BEST_PASSAGES: usize = 3;

/// How rare a word is cannot be told from fewer documents than this.
const FEW_DOCUMENTS: u64 = 50;

/// A document must hold this share of a topic of few words, or of many; rare words count most.
const DOCUMENT_COVERAGE: [f64; 2] = [0.6, 0.5];

/// One of its passages, with title and heading, must hold this share of a topic of few words, or of many.
const PASSAGE_COVERAGE: [f64; 2] = [0.62, 0.4];

/// A topic of so many terms is spread over more than one passage.
const MANY_TERMS: usize = 4;

/// How much the headings of the best passages count, against the title.
const IN_HEADINGS: f64 = 0.2;

/// Passages below this share of the document's best add noise.
const PASSAGE_CLOSE: f64 = 0.2;

/// A topic is read up to here.
const MOST_TERMS: usize = 32;

/// What a document says.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    pub title: &'a str,
    pub passages: &'a [Passage<'a>],
}

/// A run of text under one heading.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    pub heading: &'a str,
    pub text: &'a str,
}

/// A passage that holds at least one term of the topic.
#[derive(Clone, Debug)]
pub struct Hit {
    pub document: u64,
    /// Counts the passages of the document.
    pub ordinal: u64,
    /// How often each term occurs, in title, heading and text.
    pub counts: Vec<[u32; 3]>,
    /// How many terms title, heading and text have.
    pub lengths: [u32; 3],
}

/// What was searched for hits.
#[derive(Clone, Copy, Debug)]
pub struct Searched {
    pub documents: u64,
    pub passages: u64,
    /// Average number of terms per passage, of title, heading and text; each at least 1.
    pub averages: [f64; 3],
}

/// A document that speaks about the topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    pub document: u64,
    /// Comparable within one ranking only.
    pub score: f64,
    /// Those that hold a term, best first.
    pub passages: Vec<RankedPassage>,
}

/// A passage of a [`Ranked`] document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankedPassage {
    pub ordinal: u64,
    pub score: f64,
}

impl Ranked {
    /// At most so many of the best passages, in document order, and none that only adds noise.
    pub fn best_passages(&self, max: usize) -> Vec<RankedPassage> {
        let best = self.passages.first().map_or(0.0, |passage| passage.score);
        let mut kept: Vec<RankedPassage> = self.passages.iter().copied().take(max).collect();
        kept.retain(|passage| passage.score >= PASSAGE_CLOSE * best);
        kept.sort_by_key(|passage| passage.ordinal);
        kept
    }
}

/// The terms that a topic is looked for by.
pub fn query_terms(topic: &str) -> Vec<String> {
    let mut terms = topic_terms(topic);
    terms.truncate(MOST_TERMS);
    terms
}

/// The documents that hold enough of the topic, best first; each is named by its index, and so is each passage.
pub fn rank(topic: &str, documents: &[Document<'_>]) -> Vec<Ranked> {
    let query = query_terms(topic);
    let mut hits = Vec::new();
    let mut sums = [0u64; 3];
    let mut n_passages = 0;
    for (document, it) in (0u64..).zip(documents) {
        let title = terms(it.title);
        for (ordinal, passage) in (0u64..).zip(it.passages) {
            let places = [&title, &terms(passage.heading), &terms(passage.text)];
            let lengths = places.map(|terms| u32::try_from(terms.len()).unwrap_or(u32::MAX));
            for (sum, length) in sums.iter_mut().zip(lengths) {
                *sum += u64::from(length);
            }
            n_passages += 1;
            let counts = count(&query, places);
            if counts.iter().any(|counts| *counts != [0; 3]) {
                hits.push(Hit { document, ordinal, counts, lengths });
            }
        }
    }
    let averages = sums.map(|sum| (sum as f64 / n_passages.max(1) as f64).max(1.0));
    rank_hits(
        query.len(),
        &hits,
        &Searched { documents: documents.len() as u64, passages: n_passages, averages },
    )
}

fn count(query: &[String], places: [&Vec<String>; 3]) -> Vec<[u32; 3]> {
    let mut counts = vec![[0; 3]; query.len()];
    for (place, terms) in places.into_iter().enumerate() {
        for term in terms {
            // The terms of a topic are sorted.
            if let Ok(n) = query.binary_search(term) {
                counts[n][place] += 1;
            }
        }
    }
    counts
}

/// As [`rank`], of passages whose terms were counted elsewhere.
pub fn rank_hits(n_terms: usize, hits: &[Hit], searched: &Searched) -> Vec<Ranked> {
    let scores = scores(n_terms, hits, searched);
    let mut by_document: BTreeMap<u64, Vec<(&Hit, f64)>> = BTreeMap::new();
    for (hit, score) in hits.iter().zip(scores) {
        by_document.entry(hit.document).or_default().push((hit, score));
    }
    let mut frequencies = vec![0u64; n_terms];
    for hits in by_document.values() {
        for (n, frequency) in frequencies.iter_mut().enumerate() {
            *frequency += u64::from(hits.iter().any(|(hit, _)| hit.counts[n] != [0; 3]));
        }
    }
    // In a handful of documents nothing is rare, and a word that none of them has is no rarer than one that one has.
    let frequencies: Vec<u64> = frequencies.into_iter().map(|it| it.max(1)).collect();
    let rarities = rarities(&frequencies, searched.documents.max(FEW_DOCUMENTS));
    let whole: f64 = rarities.iter().sum();
    let share = |held: &dyn Fn(usize) -> bool| {
        let held: f64 = rarities.iter().enumerate().filter(|&(n, _)| held(n)).map(|(_, rarity)| rarity).sum();
        held / whole
    };

    let many = usize::from(n_terms >= MANY_TERMS);
    let mut ranked = Vec::new();
    for (document, mut hits) in by_document {
        hits.sort_by(|(a, a_score), (b, b_score)| {
            descending(*a_score, *b_score).then(a.ordinal.cmp(&b.ordinal))
        });
        let coverage = share(&|n| hits.iter().any(|(hit, _)| hit.counts[n] != [0; 3]));
        let in_title = share(&|n| hits.iter().any(|(hit, _)| hit.counts[n][0] > 0));
        let together = hits.iter().map(|(hit, _)| share(&|n| hit.counts[n] != [0; 3])).fold(0.0, f64::max);
        if coverage < DOCUMENT_COVERAGE[many] || together < PASSAGE_COVERAGE[many] {
            continue;
        }
        let best: f64 = hits.iter().take(BEST_PASSAGES).map(|(_, score)| score).sum();
        let in_headings = share(&|n| {
            hits.iter().take(BEST_PASSAGES).any(|(hit, _)| hit.counts[n][0] > 0 || hit.counts[n][1] > 0)
        });
        // A document is about what its title names, and also about what its best sections are called.
        let score = best * coverage * (0.5 + in_title + IN_HEADINGS * (in_headings - in_title));
        let passages = hits.iter().map(|&(hit, score)| RankedPassage { ordinal: hit.ordinal, score });
        ranked.push(Ranked { document, score, passages: passages.collect() });
    }
    ranked.sort_by(|a, b| descending(a.score, b.score).then(a.document.cmp(&b.document)));
    ranked
}

fn scores(n_terms: usize, hits: &[Hit], searched: &Searched) -> Vec<f64> {
    let mut frequencies = vec![0u64; n_terms];
    for hit in hits {
        for (frequency, counts) in frequencies.iter_mut().zip(&hit.counts) {
            *frequency += u64::from(*counts != [0; 3]);
        }
    }
    let rarities = rarities(&frequencies, searched.passages);
    let score = |hit: &Hit| {
        let mut score = 0.0;
        for (rarity, counts) in rarities.iter().zip(&hit.counts) {
            for place in 0..BOOSTS.len() {
                let count = f64::from(counts[place]);
                let length = f64::from(hit.lengths[place]) / searched.averages[place];
                score += rarity * BOOSTS[place] * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length));
            }
        }
        score
    };
    hits.iter().map(score).collect()
}

/// The inverse document frequency of each term.
fn rarities(frequencies: &[u64], total: u64) -> Vec<f64> {
    let total = total as f64;
    frequencies.iter().map(|&it| (1.0 + (total - it as f64 + 0.5) / (it as f64 + 0.5)).ln()).collect()
}

fn descending(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHING: [Passage<'_>; 3] = [
        Passage {
            heading: "Overview",
            text: "A cache stores responses so that later requests are answered sooner.",
        },
        Passage {
            heading: "Freshness",
            text: "A stored response is fresh until its age exceeds its lifetime.",
        },
        Passage { heading: "Contact", text: "Write to the authors." },
    ];
    const COOKING: [Passage<'_>; 1] =
        [Passage { heading: "Bread", text: "Fresh bread needs an hour, and a cache of flour." }];

    fn ordinals(passages: &[RankedPassage]) -> Vec<u64> {
        passages.iter().map(|passage| passage.ordinal).collect()
    }

    #[test]
    fn documents_and_passages_are_ranked_by_the_topic() {
        let documents = [
            Document { title: "Baking", passages: &COOKING },
            Document { title: "HTTP caching", passages: &CACHING },
        ];
        let ranked = rank("freshness of cached responses", &documents);
        assert_eq!(ranked.iter().map(|it| it.document).collect::<Vec<_>>(), [1, 0]);
        // The title speaks for all its passages.
        assert_eq!(ordinals(&ranked[0].passages), [1, 0, 2]);
        assert_eq!(ordinals(&ranked[0].best_passages(2)), [0, 1]);
        assert_eq!(ordinals(&ranked[0].best_passages(1)), [1]);
        assert!(ranked[0].score > ranked[1].score);
    }

    #[test]
    fn what_does_not_hold_enough_of_the_topic_is_left_out() {
        let documents = [Document { title: "Baking", passages: &COOKING }];
        for (topic, expected) in [
            ("bread", 1),
            ("quantum chromodynamics lattice", 0),
            ("bread in quantum chromodynamics", 0),
            ("", 0),
            ("the and of", 0),
        ] {
            assert_eq!(rank(topic, &documents).len(), expected, "{topic}");
        }
        assert_eq!(rank("bread", &[]), []);
    }

    #[test]
    fn hits_may_come_in_any_order() {
        let hit = |document, ordinal, text| Hit {
            document,
            ordinal,
            counts: vec![[0, 0, text]],
            lengths: [1, 1, 9],
        };
        let mut hits = vec![hit(0, 0, 1), hit(0, 1, 3), hit(1, 0, 1), hit(1, 1, 1)];
        let searched = Searched { documents: 9, passages: 20, averages: [1.0, 1.0, 9.0] };
        let ranked = rank_hits(1, &hits, &searched);
        assert_eq!(ordinals(&ranked[0].passages), [1, 0]);
        hits.reverse();
        assert_eq!(rank_hits(1, &hits, &searched), ranked);
    }
}
