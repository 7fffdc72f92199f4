//! Which documents speak about a topic, and where.
//!
//! Terms are counted in the living passages alone: the same files give the same ranking, no matter in how many steps
//! they were indexed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use tantivy::postings::Postings;
use tantivy::schema::{IndexRecordOption, Value};
use tantivy::{DocAddress, DocSet, TERMINATED, TantivyDocument, Term};

use quillwork_app::ports::search::{Location, Passage, Query, Source};
use quillwork_text::rank::{self, Hit, Ranked, Searched};

use crate::corpus::apparatus::is_apparatus;
use crate::corpus::index::Snapshot;
use crate::corpus::origin::Format;

/// Documents below this share of the best one's score are off the topic.
const CLOSE: f64 = 0.45;

/// The second document may be this much weaker: two sources say more than one.
const CLOSE_SECOND: f64 = 0.35;

struct Found {
    path: String,
    title: String,
    score: f64,
    ranked: Ranked,
}

/// Hits, and where the index keeps them, by document and ordinal.
type Hits = (Vec<Hit>, HashMap<(u64, u64), DocAddress>);

/// The sources for a query, best first; none if the corpus does not speak about it.
///
/// # Errors
/// If a file of the index cannot be read.
pub(crate) fn rank(snapshot: &Snapshot, query: &Query) -> tantivy::Result<Vec<Source>> {
    let terms = rank::query_terms(&query.topic);
    let (hits, addresses) = find(snapshot, &terms)?;
    let searched = Searched {
        documents: snapshot.documents.len() as u64,
        passages: snapshot.searcher.num_docs(),
        averages: snapshot.averages,
    };
    let ranked = rank::rank_hits(terms.len(), &hits, &searched);
    let mut sources = Vec::new();
    for (n, found) in (1u32..).zip(keep(documents(snapshot, ranked), query.max_sources)) {
        let document = found.ranked.document;
        let passages = found.ranked.best_passages(query.max_passages).into_iter().filter_map(|it| {
            let address = addresses.get(&(document, it.ordinal))?;
            Some(passage(snapshot, *address, it.score))
        });
        sources.push(Source {
            n,
            passages: passages.collect::<tantivy::Result<_>>()?,
            title: found.title,
            location: Location::Path(found.path),
            found_by: vec![],
            sha256: None,
        });
    }
    Ok(sources)
}

fn find(snapshot: &Snapshot, terms: &[String]) -> tantivy::Result<Hits> {
    let fields = snapshot.fields;
    let texts = [fields.title, fields.heading, fields.text];
    let mut hits = Vec::new();
    let mut addresses = HashMap::new();
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
        for (doc, counts) in counts {
            let (Some(document), Some(ordinal)) = (documents.first(doc), ordinals.first(doc)) else {
                continue;
            };
            addresses.insert((document, ordinal), DocAddress::new(n_segment, doc));
            let lengths = [norms[0].fieldnorm(doc), norms[1].fieldnorm(doc), norms[2].fieldnorm(doc)];
            hits.push(Hit { document, ordinal, counts, lengths });
        }
    }
    Ok((hits, addresses))
}

/// The documents as the manifest names them, best first.
fn documents(snapshot: &Snapshot, ranked: Vec<Ranked>) -> Vec<Found> {
    let mut found: Vec<Found> = ranked
        .into_iter()
        .filter_map(|ranked| {
            let (path, title) = snapshot.documents.get(&ranked.document)?;
            // An index or a change log touches everything and explains nothing.
            let substance = if is_apparatus(title) { 0.4 } else { 1.0 };
            let score = substance * ranked.score;
            Some(Found { path: path.clone(), title: title.clone(), score, ranked })
        })
        .collect();
    // Not by the document's id, which tells when it was indexed.
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.path.cmp(&b.path)));
    found
}

/// The documents whose score is close to the best one's.
fn keep(ranked: Vec<Found>, max_sources: usize) -> Vec<Found> {
    let mut ranked = without_source_texts(ranked);
    let best = ranked.first().map_or(0.0, |document| document.score);
    let close = ranked.iter().take_while(|document| document.score >= CLOSE * best).count();
    let second = ranked.get(1).is_some_and(|document| document.score >= CLOSE_SECOND * best);
    ranked.truncate(close.max(1 + usize::from(second)).min(max_sources));
    ranked
}

/// A page beside its own source text, as `x.html` and `x.txt`, is one document: the page, which reads better.
fn without_source_texts(ranked: Vec<Found>) -> Vec<Found> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<Found> = Vec::new();
    for document in ranked {
        match places.entry(without_extension(&document.path).to_owned()) {
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(document);
            }
            Entry::Occupied(place) => {
                let other = &mut kept[*place.get()];
                if is_page(&document.path) && !is_page(&other.path) {
                    *other = Found { score: other.score, ..document };
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

fn passage(snapshot: &Snapshot, address: DocAddress, score: f64) -> tantivy::Result<Passage> {
    let stored: TantivyDocument = snapshot.searcher.doc(address)?;
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
        score: score as f32,
    })
}
