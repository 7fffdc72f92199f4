//! Which sentences matter: TextRank, biased towards the topic.

use crate::extractive::candidates::Candidate;

/// The share of a sentence's rank that comes from its own merit; the rest comes from the sentences like it.
const RESTART: f64 = 0.4;
const ROUNDS: usize = 30;

/// Sentences less alike than this do not speak about the same.
const ALIKE: f64 = 0.08;

/// Gives each candidate its rank, from 0 to 1.
///
/// All sums run in the order of the candidates, so the same candidates always get the same ranks.
pub(crate) fn ranks(candidates: &[Candidate]) -> Vec<f64> {
    let mut merits: Vec<f64> = candidates.iter().map(merit).collect();
    let whole = merits.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    for merit in &mut merits {
        *merit /= whole;
    }
    let neighbours = neighbours(candidates);
    let mut ranks = merits.clone();
    for _ in 0..ROUNDS {
        let mut next: Vec<f64> = merits.iter().map(|merit| RESTART * merit).collect();
        for (rank, neighbours) in ranks.iter().zip(&neighbours) {
            for &(other, share) in neighbours {
                next[other] += (1.0 - RESTART) * rank * share;
            }
        }
        ranks = next;
    }
    for (rank, candidate) in ranks.iter_mut().zip(candidates) {
        *rank *= candidate.quotability * (0.4 + candidate.on_topic) * standing(candidate, 0.93);
    }
    let best = ranks.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    ranks.into_iter().map(|rank| rank / best).collect()
}

/// What the order of the sources is worth: the search found the first one to be the best.
pub(crate) fn standing(candidate: &Candidate, per_source: f64) -> f64 {
    (0..candidate.source).fold(1.0, |standing, _| standing * per_source)
}

fn merit(candidate: &Candidate) -> f64 {
    let definition = if candidate.defines { 0.3 * candidate.on_topic } else { 0.0 };
    let merit = candidate.on_topic + definition + 0.3 * candidate.context + 0.4 * candidate.found;
    merit * candidate.quotability
}

/// For each candidate, the ones like it and the share of its vote that each gets.
fn neighbours(candidates: &[Candidate]) -> Vec<Vec<(usize, f64)>> {
    let mut neighbours: Vec<Vec<(usize, f64)>> = vec![Vec::new(); candidates.len()];
    for (a, first) in candidates.iter().enumerate() {
        for (b, second) in candidates.iter().enumerate().skip(a + 1) {
            let alike = likeness(first, second);
            if alike >= ALIKE {
                neighbours[a].push((b, alike));
                neighbours[b].push((a, alike));
            }
        }
    }
    for shares in &mut neighbours {
        let whole: f64 = shares.iter().map(|(_, alike)| alike).sum();
        for (_, share) in shares {
            *share /= whole;
        }
    }
    neighbours
}

/// The cosine between two sentences' terms.
pub(crate) fn likeness(a: &Candidate, b: &Candidate) -> f64 {
    let (mut a, mut b) = (a.terms.iter().peekable(), b.terms.iter().peekable());
    let mut sum = 0.0;
    while let (Some(&&(term_a, weight_a)), Some(&&(term_b, weight_b))) = (a.peek(), b.peek()) {
        match term_a.cmp(&term_b) {
            std::cmp::Ordering::Less => drop(a.next()),
            std::cmp::Ordering::Greater => drop(b.next()),
            std::cmp::Ordering::Equal => {
                sum += weight_a * weight_b;
                a.next();
                b.next();
            }
        }
    }
    sum
}
