//! Which documents speak about a topic, and where.
//!
//! BM25 over passages, computed from the living passages alone: the same files give the same ranking, no matter
//! in how many steps they were indexed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tantivy::postings::Postings;
use tantivy::schema::{IndexRecordOption, Value};
use tantivy::{DocAddress, DocSet, TERMINATED, TantivyDocument, Term};

use quillwork_app::ports::search::{Location, Passage, Query, Source};

use crate::corpus::apparatus::is_apparatus;
use crate::corpus::index::Snapshot;
use crate::corpus::origin::Format;
use crate::words;

/// How much a term counts in the title, the heading and the text.
const BOOSTS: [f64; 3] = [2.0, 2.5, 1.0];
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// So many passages of a document decide its rank.
const BEST_PASSAGES: usize = 3;

/// How rare a word is cannot be told from fewer documents than this.
const FEW_DOCUMENTS: u64 = 50;

/// Documents below this share of the best one's score are off the topic.
const CLOSE: f64 = 0.45;

/// The second document may be this much weaker: two sources say more than one.
const CLOSE_SECOND: f64 = 0.35;

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

/// A passage that holds at least one term.
struct Hit {
    address: DocAddress,
    document: u64,
    /// Counts the passages of the document.
    ordinal: u64,
    /// How often each term occurs, in title, heading and text.
    counts: Vec<[u32; 3]>,
    /// How many terms title, heading and text have.
    lengths: [u32; 3],
    score: f64,
}

struct Ranked {
    path: String,
    title: String,
    score: f64,
    hits: Vec<Hit>,
}

/// The sources for a query, best first; none if the corpus does not speak about it.
///
/// # Errors
/// If a file of the index cannot be read.
pub(crate) fn rank(snapshot: &Snapshot, query: &Query) -> tantivy::Result<Vec<Source>> {
    let mut terms = words::topic_terms(&mut words::analyzer(), &query.topic);
    terms.truncate(MOST_TERMS);
    let mut hits = find(snapshot, &terms)?;
    score(snapshot, terms.len(), &mut hits);
    let ranked = rank_documents(snapshot, terms.len(), hits);
    let mut sources = Vec::new();
    for (n, document) in (1u32..).zip(keep(ranked, query.max_sources)) {
        let passages = passages(snapshot, document.hits, query.max_passages)?;
        sources.push(Source {
            n,
            title: document.title,
            location: Location::Path(document.path),
            passages,
            found_by: vec![],
            sha256: None,
        });
    }
    Ok(sources)
}

fn find(snapshot: &Snapshot, terms: &[String]) -> tantivy::Result<Vec<Hit>> {
    let fields = snapshot.fields;
    let texts = [fields.title, fields.heading, fields.text];
    let mut hits = Vec::new();
    for (n_segment, segment) in (0u32..).zip(snapshot.searcher.segment_readers()) {
        let mut counts: BTreeMap<u32, Vec<[u32; 3]>> = BTreeMap::new();
        for (place, &field) in texts.iter().enumerate() {
            let inverted = segment.inverted_index(field)?;
            for (n, term) in terms.iter().enumerate() {
                let term = Term::from_field_text(field, term);
                let Some(mut postings) = inverted.read_postings(&term, IndexRecordOption::WithFreqs)? else {
                    continue;
                };
                while postings.doc() != TERMINATED {
                    if !segment.is_deleted(postings.doc()) {
                        let counts =
                            counts.entry(postings.doc()).or_insert_with(|| vec![[0; 3]; terms.len()]);
                        counts[n][place] = postings.term_freq();
                    }
                    postings.advance();
                }
            }
        }
        let documents = segment.fast_fields().u64("document")?;
        let ordinals = segment.fast_fields().u64("ordinal")?;
        let [title, heading, text] = texts;
        let norms = [
            segment.get_fieldnorms_reader(title)?,
            segment.get_fieldnorms_reader(heading)?,
            segment.get_fieldnorms_reader(text)?,
        ];
        hits.extend(counts.into_iter().filter_map(|(doc, counts)| {
            Some(Hit {
                address: DocAddress::new(n_segment, doc),
                document: documents.first(doc)?,
                ordinal: ordinals.first(doc)?,
                counts,
                lengths: [norms[0].fieldnorm(doc), norms[1].fieldnorm(doc), norms[2].fieldnorm(doc)],
                score: 0.0,
            })
        }));
    }
    Ok(hits)
}

fn score(snapshot: &Snapshot, n_terms: usize, hits: &mut [Hit]) {
    let mut frequencies = vec![0u64; n_terms];
    for hit in hits.iter() {
        for (frequency, counts) in frequencies.iter_mut().zip(&hit.counts) {
            *frequency += u64::from(*counts != [0; 3]);
        }
    }
    let rarities = rarities(&frequencies, snapshot.searcher.num_docs());
    for hit in hits {
        let mut score = 0.0;
        for (rarity, counts) in rarities.iter().zip(&hit.counts) {
            for place in 0..BOOSTS.len() {
                let count = f64::from(counts[place]);
                let length = f64::from(hit.lengths[place]) / snapshot.averages[place];
                score += rarity * BOOSTS[place] * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length));
            }
        }
        hit.score = score;
    }
}

/// The inverse document frequency of each term.
fn rarities(frequencies: &[u64], total: u64) -> Vec<f64> {
    let total = total as f64;
    frequencies.iter().map(|&it| (1.0 + (total - it as f64 + 0.5) / (it as f64 + 0.5)).ln()).collect()
}

/// All documents that hold enough of the topic, best first.
fn rank_documents(snapshot: &Snapshot, n_terms: usize, hits: Vec<Hit>) -> Vec<Ranked> {
    let mut by_document: BTreeMap<u64, Vec<Hit>> = BTreeMap::new();
    for hit in hits {
        by_document.entry(hit.document).or_default().push(hit);
    }
    let mut frequencies = vec![0u64; n_terms];
    for hits in by_document.values() {
        for (n, frequency) in frequencies.iter_mut().enumerate() {
            *frequency += u64::from(hits.iter().any(|hit| hit.counts[n] != [0; 3]));
        }
    }
    // In a handful of documents nothing is rare, and a word that none of them has is no rarer than one that one has.
    let frequencies: Vec<u64> = frequencies.into_iter().map(|it| it.max(1)).collect();
    let rarities = rarities(&frequencies, (snapshot.documents.len() as u64).max(FEW_DOCUMENTS));
    let whole: f64 = rarities.iter().sum();
    let share = |held: &dyn Fn(usize) -> bool| {
        let held: f64 = rarities.iter().enumerate().filter(|&(n, _)| held(n)).map(|(_, rarity)| rarity).sum();
        held / whole
    };

    let many = usize::from(n_terms >= MANY_TERMS);
    let mut ranked = Vec::new();
    for (id, mut hits) in by_document {
        let Some((path, title)) = snapshot.documents.get(&id) else { continue };
        hits.sort_by(|a, b| descending(a.score, b.score).then(a.ordinal.cmp(&b.ordinal)));
        let coverage = share(&|n| hits.iter().any(|hit| hit.counts[n] != [0; 3]));
        let in_title = share(&|n| hits.iter().any(|hit| hit.counts[n][0] > 0));
        let together = hits.iter().map(|hit| share(&|n| hit.counts[n] != [0; 3])).fold(0.0, f64::max);
        if coverage < DOCUMENT_COVERAGE[many] || together < PASSAGE_COVERAGE[many] {
            continue;
        }
        let best: f64 = hits.iter().take(BEST_PASSAGES).map(|hit| hit.score).sum();
        let in_headings = share(&|n| {
            hits.iter().take(BEST_PASSAGES).any(|hit| hit.counts[n][0] > 0 || hit.counts[n][1] > 0)
        });
        // A document is about what its title names, and also about what its best sections are called.
        // An index or a change log touches everything and explains nothing.
        let substance = if is_apparatus(title) { 0.4 } else { 1.0 };
        let score = substance * best * coverage * (0.5 + in_title + IN_HEADINGS * (in_headings - in_title));
        ranked.push(Ranked { path: path.clone(), title: title.clone(), score, hits });
    }
    ranked.sort_by(|a, b| descending(a.score, b.score).then_with(|| a.path.cmp(&b.path)));
    ranked
}

/// The documents whose score is close to the best one's.
fn keep(ranked: Vec<Ranked>, max_sources: usize) -> Vec<Ranked> {
    let mut ranked = without_source_texts(ranked);
    let best = ranked.first().map_or(0.0, |document| document.score);
    let close = ranked.iter().take_while(|document| document.score >= CLOSE * best).count();
    let second = ranked.get(1).is_some_and(|document| document.score >= CLOSE_SECOND * best);
    ranked.truncate(close.max(1 + usize::from(second)).min(max_sources));
    ranked
}

/// A page beside its own source text, as `x.html` and `x.txt`, is one document: the page, which reads better.
fn without_source_texts(ranked: Vec<Ranked>) -> Vec<Ranked> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<Ranked> = Vec::new();
    for document in ranked {
        match places.entry(without_extension(&document.path).to_owned()) {
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(document);
            }
            Entry::Occupied(place) => {
                let other = &mut kept[*place.get()];
                if is_page(&document.path) && !is_page(&other.path) {
                    *other = Ranked { score: other.score, ..document };
                }
            }
        }
    }
    kept
}

fn is_page(path: &str) -> bool {
    matches!(Format::of(path), Some((Format::Html, _)))
}

fn without_extension(path: &str) -> &str {
    let path = path.strip_suffix(".gz").unwrap_or(path);
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}

/// The best passages of a document, in document order.
fn passages(snapshot: &Snapshot, hits: Vec<Hit>, max_passages: usize) -> tantivy::Result<Vec<Passage>> {
    let best = hits.first().map_or(0.0, |hit| hit.score);
    let mut kept: Vec<Hit> =
        hits.into_iter().filter(|hit| hit.score >= PASSAGE_CLOSE * best).take(max_passages).collect();
    kept.sort_by_key(|hit| hit.ordinal);
    kept.into_iter().map(|hit| passage(snapshot, &hit)).collect()
}

fn passage(snapshot: &Snapshot, hit: &Hit) -> tantivy::Result<Passage> {
    let stored: TantivyDocument = snapshot.searcher.doc(hit.address)?;
    let text =
        |field| stored.get_first(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let line = |field| {
        let line = stored.get_first(field).and_then(|value| value.as_u64()).unwrap_or_default();
        u32::try_from(line).unwrap_or(u32::MAX)
    };
    let fields = snapshot.fields;
    Ok(Passage {
        heading: text(fields.heading),
        text: text(fields.text),
        lines: [line(fields.first_line), line(fields.last_line)],
        score: hit.score as f32,
    })
}

fn descending(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}
