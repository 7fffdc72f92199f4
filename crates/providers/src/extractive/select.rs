//! Picks the sentences of an article: a lead, and bullets by section.

use std::collections::BTreeMap;

use quillwork_app::ports::search::Findings;

use crate::extractive::candidates::Candidate;
use crate::extractive::definition::{has_verb, is_conditional};
use crate::extractive::rank::{likeness, standing};

/// How much a sentence's rank counts, against how much it repeats.
const RANK: f64 = 0.72;

/// Sentences more alike than this say the same.
const REPEATS: f64 = 0.6;

const LEAD: usize = 3;

/// A section of more bullets is a copy of its source.
const SECTION: usize = 4;
const SECTIONS: usize = 9;

/// A bullet beside another one reads better than one alone.
const COMPANY: f64 = 0.05;

/// Ranks below this share of the best are filler.
const WORTH: f64 = 0.06;

/// What an article consists of, as indices of candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) lead: Vec<usize>,
    /// In the order of the findings, as are the bullets.
    pub(crate) sections: Vec<Vec<usize>>,
}

/// Picks at most about `max_words` words, and one sentence at least.
pub(crate) fn select(
    candidates: &[Candidate],
    ranks: &[f64],
    findings: &Findings,
    max_words: usize,
) -> Selection {
    let mut taken = Taken { candidates, ranks, chosen: Vec::new(), n_words: 0, max_words };
    for n in 0..LEAD {
        // The best source has its say, at the latest in the last sentence.
        let due = n + 1 == LEAD && taken.chosen.iter().all(|&it| candidates[it].source != 0);
        let fit = |it: usize| lead_factor(&candidates[it]);
        let next = taken.best(|it| (!due || candidates[it].source == 0).then(|| fit(it)));
        let Some(next) = next.or_else(|| taken.best(|it| Some(fit(it)))) else { break };
        taken.take(next);
    }
    let mut lead = taken.chosen.clone();
    // What the topic is comes before what there is to say about it.
    lead.sort_by_key(|&it| !candidates[it].defines);
    let mut sections: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    loop {
        let open = sections.len() < SECTIONS;
        let next =
            taken.best_with(|it| match sections.get(&section(&candidates[it], findings)).map(Vec::len) {
                None => open.then_some(0.0),
                Some(SECTION..) => None,
                Some(_) => Some(COMPANY),
            });
        let Some(next) = next else { break };
        taken.take(next);
        sections.entry(section(&candidates[next], findings)).or_default().push(next);
    }
    let sections = sections.into_values().map(|mut bullets| {
        bullets.sort_unstable();
        bullets
    });
    Selection { lead, sections: sections.collect() }
}

/// How well a sentence opens an article: best with a short definition of the topic.
fn lead_factor(candidate: &Candidate) -> f64 {
    let definition = if candidate.defines { 1.0 } else { 0.35 };
    let whole = if has_verb(&candidate.text) { 1.0 } else { 0.3 };
    let condition = if is_conditional(&candidate.text) { 0.4 } else { 1.0 };
    let short = if candidate.n_words > 34 { 0.7 } else { 1.0 };
    definition
        * whole
        * condition
        * short
        * candidate.quotability
        * (0.2 + candidate.on_topic)
        * standing(candidate, 0.8)
}

/// A source, and the first of its passages under the same heading.
fn section(candidate: &Candidate, findings: &Findings) -> (usize, usize) {
    let passages = &findings.sources[candidate.source].passages;
    let heading = &passages[candidate.passage].heading;
    let first = passages.iter().position(|passage| passage.heading == *heading);
    (candidate.source, first.unwrap_or(candidate.passage))
}

struct Taken<'a> {
    candidates: &'a [Candidate],
    ranks: &'a [f64],
    chosen: Vec<usize>,
    n_words: usize,
    max_words: usize,
}

impl Taken<'_> {
    fn take(&mut self, candidate: usize) {
        self.n_words += self.candidates[candidate].n_words;
        self.chosen.push(candidate);
    }

    /// The candidate of the highest rank, times a factor; `None` rules one out.
    fn best(&self, factor: impl Fn(usize) -> Option<f64>) -> Option<usize> {
        self.best_of(|it| factor(it).map(|factor| self.worth(it, factor)))
    }

    /// The candidate of the highest rank, plus a bonus; `None` rules one out.
    fn best_with(&self, bonus: impl Fn(usize) -> Option<f64>) -> Option<usize> {
        self.best_of(|it| bonus(it).map(|bonus| self.worth(it, 1.0) + bonus))
    }

    fn best_of(&self, worth: impl Fn(usize) -> Option<f64>) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        for candidate in 0..self.candidates.len() {
            let fits =
                self.chosen.is_empty() || self.n_words + self.candidates[candidate].n_words <= self.max_words;
            if !fits || self.ranks[candidate] < WORTH || self.repetition(candidate) >= REPEATS {
                continue;
            }
            // Of equals, the first in the findings wins.
            if let Some(worth) = worth(candidate)
                && best.is_none_or(|(_, most)| worth > most)
            {
                best = Some((candidate, worth));
            }
        }
        best.map(|(candidate, _)| candidate)
    }

    /// Maximal marginal relevance: the rank, less what the chosen sentences say already.
    fn worth(&self, candidate: usize, factor: f64) -> f64 {
        RANK * self.ranks[candidate] * factor - (1.0 - RANK) * self.repetition(candidate)
    }

    /// 1 for a sentence that is chosen.
    fn repetition(&self, candidate: usize) -> f64 {
        let alike = self.chosen.iter().map(|&it| {
            if it == candidate { 1.0 } else { likeness(&self.candidates[it], &self.candidates[candidate]) }
        });
        alike.fold(0.0, f64::max)
    }
}
