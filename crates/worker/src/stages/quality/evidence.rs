//! The sources that an article cites, by the words that stand in them.

use std::collections::{HashMap, HashSet};

use quillwork_text::sentence::sentences;
use quillwork_text::words::Vocabulary;

use crate::stages::quality::draft::{Cited, Draft};
use crate::stages::quality::facts::{normal, numbers};

/// So many sentences of a passage in a row may be what one sentence of the article says.
const WINDOW: u32 = 3;

/// All cited sources, by their numbers.
pub(super) struct Evidence {
    pub(super) vocabulary: Vocabulary,
    pub(super) sources: HashMap<u32, Index>,
}

impl Evidence {
    pub(super) fn of(draft: &Draft<'_>) -> Self {
        let mut vocabulary = Vocabulary::default();
        let sources = draft.cited.iter().map(|cited| (cited.n, Index::of(cited, &mut vocabulary))).collect();
        Self { vocabulary, sources }
    }
}

/// Where each term stands in a source.
pub(super) struct Index {
    /// The sentences, in ascending order. Between passages some numbers are left out, so that no window holds two.
    places: HashMap<u32, Vec<u32>>,
    n_places: u32,
    /// The terms of title and headings.
    named: HashSet<u32>,
    numbers: HashSet<String>,
}

impl Index {
    fn of(cited: &Cited<'_>, vocabulary: &mut Vocabulary) -> Self {
        let mut index =
            Self { places: HashMap::new(), n_places: 0, named: HashSet::new(), numbers: HashSet::new() };
        index.name(cited.title, vocabulary);
        for passage in &cited.passages {
            // What stands under a heading speaks about what the heading names.
            let heading = vocabulary.number(&passage.heading);
            index.name(&passage.heading, vocabulary);
            index.numbers.extend(numbers(&passage.text).map(normal));
            for block in passage.text.lines() {
                for range in sentences(block) {
                    let place = index.n_places;
                    for term in vocabulary.number(&block[range]).into_iter().chain(heading.iter().copied()) {
                        let places = index.places.entry(term).or_default();
                        if places.last() != Some(&place) {
                            places.push(place);
                        }
                    }
                    index.n_places += 1;
                }
            }
            index.n_places += WINDOW - 1;
        }
        index
    }

    fn name(&mut self, text: &str, vocabulary: &mut Vocabulary) {
        self.named.extend(vocabulary.number(text));
        self.numbers.extend(numbers(text).map(normal));
    }

    /// Whether the term stands anywhere in the source.
    pub(super) fn has(&self, term: u32) -> bool {
        self.places.contains_key(&term) || self.named.contains(&term)
    }

    /// Whether the number, as [`normal`] writes it, stands anywhere in the source.
    pub(super) fn has_number(&self, number: &str) -> bool {
        self.numbers.contains(number)
    }

    fn places(&self, term: u32) -> &[u32] {
        self.places.get(&term).map_or(&[], Vec::as_slice)
    }

    /// Marks the terms that the window with most of them holds; of equal windows, the first.
    pub(super) fn hold(&self, terms: &[u32], held: &mut [bool]) {
        let mut counts = vec![0u32; self.n_places as usize];
        for &term in terms {
            let mut counted = 0;
            for &place in self.places(term) {
                // A window begins at most so far before what it holds.
                for start in place.saturating_sub(WINDOW - 1).max(counted)..=place {
                    counts[start as usize] += 1;
                }
                counted = place + 1;
            }
        }
        let (best, _) = (0u32..)
            .zip(&counts)
            .fold((0, 0), |best, (start, &count)| if count > best.1 { (start, count) } else { best });
        for (&term, held) in terms.iter().zip(held) {
            let places = self.places(term);
            let next = places.get(places.partition_point(|&place| place < best));
            *held |= next.is_some_and(|&place| place < best + WINDOW);
        }
    }
}
